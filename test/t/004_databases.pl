# Each database with the extension gets a scheduler without configuration. Commands that need exclusive use
# of a database succeed. bgjob.databases and bgjob.enabled take effect.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('databases', 'bgjob.shutdown_timeout' => '6s');
my $work = 'CREATE TABLE done (n int);
	CREATE FUNCTION work(n int) RETURNS void LANGUAGE sql AS $$INSERT INTO done VALUES (n)$$';

# prepare DATABASE… creates databases with the extension and a function for jobs.
sub prepare
{
	for my $db (@_)
	{
		$node->safe_psql('postgres', "CREATE DATABASE $db");
		$node->safe_psql($db, "CREATE EXTENSION bgjob; $work");
	}
}

# schedulers DATABASE, NUMBER, WHAT waits until a database has that number of schedulers.
sub schedulers
{
	my ($db, $number, $what) = @_;
	wait_until($node, "SELECT count(*) = $number FROM pg_stat_activity
		WHERE backend_type = 'bgjob scheduler' AND datname = '$db'", $what);
}

sub state_is
{
	my ($db, $id, $state, $what) = @_;
	wait_until($node, "SELECT state = '$state' FROM bgjob.jobs WHERE id = $id", $what, 60, $db);
}

sub enqueue
{
	my ($db, $job, @options) = @_;
	return $node->safe_psql($db, "SELECT bgjob_enqueue(" . join(', ', "'$job'", @options) . ')');
}

sub long_job
{
	my $db = shift;
	my $id = enqueue($db, 'pg_sleep', q('[600]'));
	state_is($db, $id, 'processing', "a long job runs in $db");
	return $id;
}

# quickly DATABASE, SQL, WHAT tests that a command succeeds within ten seconds.
sub quickly
{
	my ($db, $sql, $what) = @_;
	my ($began, $err) = (time, '');
	my $status = $node->psql($db, $sql, stderr => \$err);
	my $took = time - $began;
	ok($status == 0 && $took < 10, $what) or diag(sprintf 'status %d after %.1f s: %s', $status, $took, $err);
}

$node->safe_psql('postgres', $work);
prepare('second');
schedulers('second', 1, 'CREATE EXTENSION in a second database starts a scheduler');
schedulers('postgres', 1, 'the first database keeps its scheduler');
for my $db ('postgres', 'second')
{
	my $id = enqueue($db, 'work', q('[1]'));
	state_is($db, $id, 'succeeded', "a job runs in $db");
	is($node->safe_psql($db, 'SELECT count(*) FROM done'), 1, "the job has its effect in $db alone");
}

quickly('second', 'DROP EXTENSION bgjob', 'DROP EXTENSION');
schedulers('second', 0, 'DROP EXTENSION ends the scheduler');
$node->safe_psql('second', 'CREATE EXTENSION bgjob');
schedulers('second', 1, 'CREATE EXTENSION once more starts it again');
long_job('second');
quickly('second', 'DROP EXTENSION bgjob', 'DROP EXTENSION while a job runs');
schedulers('second', 0, 'DROP EXTENSION ends the scheduler while a job runs');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'second'"),
	0, 'DROP EXTENSION ends the worker');

prepare('dropped');
long_job('dropped');
quickly('postgres', 'DROP DATABASE dropped', 'DROP DATABASE while a job runs');

prepare('before');
my $interrupted = long_job('before');
quickly('postgres', 'ALTER DATABASE before RENAME TO after', 'ALTER DATABASE RENAME while a job runs');
state_is('after', $interrupted, 'processing', 'the job runs again under the new name');
is($node->safe_psql('after', "SELECT retries, interruptions FROM bgjob.jobs WHERE id = $interrupted"),
	'0|1', 'the job was interrupted and has used no retry');
state_is('after', enqueue('after', 'work', q('[1]')), 'succeeded', 'other jobs run');

prepare('template_db');
state_is('template_db', enqueue('template_db', 'work', q('[1]')), 'succeeded', 'a job for the template');
my $waiting = enqueue('template_db', 'work', q('[2]'), q(delay => '1 hour'));
is($node->safe_psql('template_db', "SELECT count(*) > 0 AND bool_and(state = 'idle') FROM bgjob.workers"), 't', 'the template has idle workers');
quickly('postgres', 'CREATE DATABASE copy TEMPLATE template_db', 'CREATE DATABASE from a template with workers');
schedulers('template_db', 1, 'the template has its scheduler again');
$node->safe_psql('copy', "SELECT bgjob_reschedule($waiting, run_at => now())");
$node->safe_psql('template_db', "SELECT bgjob_reschedule($waiting, run_at => now())");
state_is('template_db', $waiting, 'succeeded', "the template's job runs in the template");
is($node->safe_psql('copy', 'SELECT array_agg(n ORDER BY n) FROM done'), '{1}', 'the job does not run in the copy');
$node->safe_psql('copy', 'SELECT bgjob_adopt()');
state_is('copy', $waiting, 'succeeded', 'the job runs in the copy after bgjob_adopt()');

# A role that may not drop a database does not disturb it.
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN');
long_job('copy');
my $processes = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE datname = 'copy' AND backend_type LIKE 'bgjob%'";
my $before = $node->safe_psql('postgres', $processes);
isnt($node->psql('postgres', 'DROP DATABASE copy', extra_params => [ '-U', 'stranger' ]), 0,
	'DROP DATABASE by a role that is not the owner fails');
is($node->safe_psql('postgres', $processes), $before, 'the failed DROP DATABASE ends no process');
quickly('postgres', 'DROP DATABASE copy', 'DROP DATABASE by the owner succeeds');

set_and_reload($node, 'bgjob.databases' => 'postgres');
schedulers('after', 0, 'bgjob.databases without a database ends its scheduler');
set_and_reload($node, 'bgjob.databases' => '*');
schedulers('after', 1, 'bgjob.databases with the database starts it again');

# bgjob.enabled: a running job may end within bgjob.shutdown_timeout.
my $running = enqueue('postgres', 'pg_sleep', q('[3]'));
state_is('postgres', $running, 'processing', 'a job runs');
set_and_reload($node, 'bgjob.enabled' => 'off');
schedulers('postgres', 0, 'bgjob.enabled = off ends the scheduler');
is($node->safe_psql('postgres', "SELECT state, interruptions FROM bgjob.jobs WHERE id = $running"),
	'succeeded|0', 'the running job succeeds');
my $later = enqueue('postgres', 'work', q('[3]'));
$node->restart;
is($node->safe_psql('postgres', "SELECT state FROM bgjob.jobs WHERE id = $later"), 'enqueued',
	'a waiting job survives a restart, and does not start while bgjob.enabled is off');
set_and_reload($node, 'bgjob.enabled' => 'on');
state_is('postgres', $later, 'succeeded', 'bgjob.enabled = on: the waiting job runs');

check_counters($node);
check_counters($node, 'after');
$node->stop;
done_testing();
