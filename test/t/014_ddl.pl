# Commands on databases and extensions that fail or are rolled back leave bgjob as it was; commands that
# rewrite its tables do not lose or repeat a job.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('ddl', 'bgjob.shutdown_timeout' => '1s');
$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN CREATEDB; CREATE ROLE stranger LOGIN CREATEDB');

sub prepare
{
	my ($db, $options) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db " . ($options // ''));
	$node->safe_psql($db, 'CREATE EXTENSION bgjob; CREATE TABLE effect (job bigint);
		CREATE FUNCTION work() RETURNS void LANGUAGE sql AS $$INSERT INTO effect VALUES (bgjob_current_id())$$');
}

sub long_job
{
	my $db = shift;
	my $id = $node->safe_psql($db, q{SELECT bgjob_enqueue('pg_sleep', '[600]')});
	wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id", "a long job runs in $db", 60, $db);
	return $id;
}

sub job_runs
{
	my ($db, $what) = @_;
	my $id = $node->safe_psql($db, q{SELECT bgjob_enqueue('work')});
	wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $id", $what, 60, $db);
}

# resumed DATABASE, ID, WHAT tests that an interrupted job runs again and has used no retry.
sub resumed
{
	my ($db, $id, $what) = @_;
	wait_until($node, "SELECT state = 'processing' AND retries = 0 FROM bgjob.jobs WHERE id = $id", $what, 60, $db);
}

sub schedulers
{
	my ($db, $number, $what) = @_;
	wait_until($node, "SELECT count(*) = $number FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = '$db'", $what);
}

sub pids
{
	return $node->safe_psql('postgres', "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity
		WHERE datname = '$_[0]' AND backend_type LIKE 'bgjob%'");
}

# refused SQL, ROLE, DATABASE, WHAT tests that a command fails and ends no process in the database.
sub refused
{
	my ($sql, $who, $db, $what) = @_;
	my $before = pids($db);
	isnt($node->psql('postgres', $sql, extra_params => [ '-U', $who ]), 0, "$what fails");
	is(pids($db), $before, 'the failed command ends no process');
}

sub quickly
{
	my ($db, $sql, $what, @params) = @_;
	my ($began, $err) = (time, '');
	# A command that waited for the job would take ten minutes.
	local $ENV{PGOPTIONS} = '-c statement_timeout=15s';
	my $status = $node->psql($db, $sql, stderr => \$err, extra_params => \@params);
	my $took = time - $began;
	ok($status == 0 && $took < 10, $what) or diag(sprintf 'status %d after %.1f s: %s', $status, $took, $err);
}

# Extensions.
$node->safe_psql('postgres', 'CREATE DATABASE rolled');
$node->safe_psql('rolled', 'BEGIN; CREATE EXTENSION bgjob; ROLLBACK');
$node->safe_psql('rolled', 'BEGIN; SAVEPOINT s; CREATE EXTENSION bgjob; ROLLBACK TO s; COMMIT');
$node->safe_psql('rolled', 'CREATE SCHEMA s; CREATE EXTENSION bgjob SCHEMA s');
schedulers('rolled', 1, 'CREATE EXTENSION after one that was rolled back starts one scheduler');
my $id = $node->safe_psql('rolled', q{SELECT s.bgjob_enqueue('pg_sleep', '[600]')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id", 'a long job runs in schema s', 60, 'rolled');
quickly('rolled', 'BEGIN; DROP EXTENSION bgjob; ROLLBACK', 'DROP EXTENSION rolled back');
resumed('rolled', $id, 'the job continues or runs again');
schedulers('rolled', 1, 'there is one scheduler');
quickly('rolled', 'DROP EXTENSION bgjob', 'DROP EXTENSION');
quickly('postgres', 'DROP DATABASE rolled', 'DROP DATABASE succeeds afterwards');

# bgjob does not see in advance that this command drops the extension: it waits for running jobs like for any
# transaction, and drops the tables while the scheduler runs. Repeated, as the scheduler's step matters.
for my $db (map { "schema$_" } 1 .. 5)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE SCHEMA s; CREATE EXTENSION bgjob SCHEMA s');
	$id = $node->safe_psql($db, q{SELECT s.bgjob_enqueue('pg_sleep', '[600]')});
	wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id", "a long job runs in $db", 60, $db);
	$node->safe_psql($db, "SELECT s.bgjob_delete($id)");
	quickly($db, 'DROP SCHEMA s CASCADE', 'DROP SCHEMA CASCADE drops the extension');
	wait_until($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = '$db' AND backend_type LIKE 'bgjob%'",
		'scheduler and worker end', 30);
	quickly('postgres', "DROP DATABASE $db", 'DROP DATABASE succeeds afterwards');
}

# Commands on databases without the privilege.
prepare('target');
$id = long_job('target');
refused('DROP DATABASE target', 'stranger', 'target', 'DROP DATABASE by a stranger');
refused('DROP DATABASE target WITH (FORCE)', 'stranger', 'target', 'DROP DATABASE WITH (FORCE) by a stranger');
refused('ALTER DATABASE target RENAME TO taken', 'stranger', 'target', 'RENAME by a stranger');
refused('CREATE DATABASE taken TEMPLATE target', 'stranger', 'target', 'a stranger\'s CREATE DATABASE from it');
quickly('postgres', 'DROP DATABASE IF EXISTS nowhere', 'DROP DATABASE IF EXISTS of none');
is($node->safe_psql('target', "SELECT state, interruptions FROM bgjob.jobs WHERE id = $id"), 'processing|0', 'the job was not interrupted');

# Commands that fail for another reason: the stopped processes are started again.
for my $command ('BEGIN; DROP DATABASE target; COMMIT', 'ALTER DATABASE target RENAME TO postgres', 'ALTER DATABASE target SET TABLESPACE nowhere')
{
	isnt($node->psql('postgres', $command, on_error_stop => 1), 0, "$command fails");
	resumed('target', $id, 'the job continues or runs again');
}

# Commands that fail because a client is connected: the processes are started again.
my $client = $node->background_psql('target');
$client->query_safe('SELECT 1');
isnt($node->psql('postgres', 'DROP DATABASE target'), 0, 'DROP DATABASE fails while a client is connected');
resumed('target', $id, 'the job continues or runs again');
isnt($node->psql('postgres', 'ALTER DATABASE target RENAME TO renamed'), 0, 'RENAME fails while a client is connected');
resumed('target', $id, 'the job continues or runs again');
job_runs('target', 'other jobs run');
schedulers('target', 1, 'there is one scheduler');
$client->quit;

# Commands that succeed.
$node->safe_psql('postgres', q{SET allow_in_place_tablespaces = on; CREATE TABLESPACE elsewhere LOCATION ''});
quickly('postgres', 'ALTER DATABASE target SET TABLESPACE elsewhere', 'SET TABLESPACE while a job runs');
resumed('target', $id, 'the job runs again');
job_runs('target', 'other jobs run');
$client = $node->background_psql('target');
$client->query_safe('SELECT 1');
quickly('postgres', 'DROP DATABASE target WITH (FORCE)', 'DROP DATABASE WITH (FORCE) while a job runs and a client is connected');
eval { $client->quit };
prepare('own', 'OWNER owner');
long_job('own');
quickly('postgres', 'DROP DATABASE own', 'an owner who is no superuser drops a database while a job runs', '-U', 'owner');

# A name that needs quoting everywhere.
my $odd = q(O'dd, "DB"\\);
$node->safe_psql('postgres', 'CREATE DATABASE "O\'dd, ""DB""\\"');
$node->safe_psql($odd, 'CREATE EXTENSION bgjob; CREATE TABLE effect (job bigint);
	CREATE FUNCTION work() RETURNS void LANGUAGE sql AS $$INSERT INTO effect VALUES (bgjob_current_id())$$');
job_runs($odd, 'a job runs in a database with an odd name');
quickly('postgres', 'DROP DATABASE "O\'dd, ""DB""\\"', 'the database with an odd name can be dropped');

# Maintenance while jobs run: the rows move, the jobs do not.
prepare('kept');
$node->safe_psql('kept', q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[5000]))});
for my $round (1 .. 3)
{
	for my $command ('VACUUM FULL', 'REINDEX DATABASE kept', 'VACUUM (FREEZE, ANALYZE)', 'REINDEX DATABASE CONCURRENTLY kept')
	{
		my $err;
		is($node->psql('kept', "SET lock_timeout = '30s'; $command", stderr => \$err), 0, "$command, round $round") or diag($err);
		$node->safe_psql('kept', q{SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, ARRAY[500]))});
	}
}
wait_until($node, q{SELECT count(*) = 11000 AND bool_and(state = 'succeeded') FROM bgjob.jobs}, 'all jobs succeed', 120, 'kept');
is($node->safe_psql('kept', 'SELECT count(*), count(DISTINCT job) FROM effect'), '11000|11000', 'each job has taken effect once');
is($node->safe_psql('kept', 'SELECT count(*) FROM bgjob.jobs WHERE retries > 0'), 0, 'each job succeeded at the first attempt');
check_counters($node, 'kept');
$node->stop;
done_testing();
