# Processes that fail: each logs the cause once, restarts at growing intervals, disturbs no other process, and recovers
# without intervention. The cause here is a missing file of a relation.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

my $node = bgjob_cluster('failing', 'bgjob.workers' => 4, max_worker_processes => 12, 'bgjob.worker_idle_timeout' => '1s', fsync => 'off',
	bgwriter_lru_maxpages => 0, checkpoint_timeout => '1h');    # which would open the files, too
sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

sql('CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA bgjob TO app; CREATE DATABASE other');
sql('CREATE EXTENSION bgjob', 'other');

# take RELATION, give RELATION move its file away, and back. Processes that have the file open continue until they close it.
my %away;
sub take
{
	my ($relation) = @_;

	sql('CHECKPOINT');
	$away{$relation} = $node->data_dir . '/' . sql("SELECT pg_relation_filepath('$relation')");
	rename($away{$relation}, "$away{$relation}.away") or die;
}

sub give { my ($relation) = @_; rename("$away{$relation}.away", $away{$relation}) or die }

# said FROM, PATTERN returns how often the log after position FROM matches.
sub said { my ($from, $pattern) = @_; my $n = () = substr(slurp_file($node->logfile), $from) =~ /$pattern/g; return $n }

# until_said FROM, PATTERN, WHAT tests that the log matches in time.
sub until_said
{
	my ($from, $pattern, $what) = @_;
	my $end = time + 40;

	select(undef, undef, undef, 0.05) until said($from, $pattern) || time > $end;
	ok(said($from, $pattern), $what);
}

sub is_served
{
	my ($db, $what) = @_;
	my $id = sql(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')}, $db);

	is(sql("SELECT bgjob_wait($id, '30 s')", $db), 'succeeded', $what);
}

# serve_only DATABASES: the launcher has seen it.
sub serve_only
{
	my ($databases) = @_;

	set_and_reload($node, 'bgjob.databases' => $databases);
}

is_served($_, "database $_ is served") for 'postgres', 'other';

# What there is room for where database postgres is not served.
serve_only('other');
my $mine = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^bgjob (scheduler|worker)' AND datname = 'postgres'};
wait_until($node, "SELECT ($mine) = 0", 'database postgres is served no more', 20);
set_and_reload($node, 'bgjob.workers' => 100);
wait_until($node, 'SELECT workers = 0 FROM bgjob.stats', 'nor has the other any worker', 20, 'other');
my $room = sql('SELECT workers FROM bgjob.servers', 'other');
cmp_ok($room, '>', 2, 'there is room for some');
set_and_reload($node, 'bgjob.workers' => 4);
serve_only('*');

# ---- a scheduler ----

my $long = sql(q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $long", 'a job is running');
my $from = -s $node->logfile;
sql(q{SELECT bgjob_enqueue('SELECT 3', kind => 'sql', delay => '1 s')});
take('bgjob_internal.queue');
sql('ALTER TABLE bgjob_internal.queue SET (autovacuum_vacuum_threshold = 1001)');    # has everybody close it
until_said($from, qr/LOG:  a scheduler of bgjob has failed again: could not open file/, 'a scheduler fails again and again');
sql('SELECT pg_sleep(2)');
is(said($from, qr/could not open file/), 2, 'the failure is logged twice');
is_served('other', 'another database is served as ever');
is(sql("SELECT state FROM bgjob.jobs WHERE id = $long"), 'processing', 'the worker goes on');
give('bgjob_internal.queue');
is_served('postgres', 'the database is served again when the cause is gone');
is(sql("SELECT state || interruptions FROM bgjob.jobs WHERE id = $long"), 'processing0', 'the worker has run all the time');

# While the scheduler fails, its database is no longer served: no other process manages the worker.
my $scheduler = pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});
sql(q{SELECT bgjob_enqueue('SELECT 3', kind => 'sql', delay => '1 s')});
take('bgjob_internal.queue');
sql('ALTER TABLE bgjob_internal.queue SET (autovacuum_vacuum_threshold = 1000)');
wait_until($node, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $scheduler)", 'it fails once more', 20);
serve_only('other');
wait_until($node, "SELECT ($mine) = 0", 'the workers of a database that is no longer served are ended', 20);
set_and_reload($node, 'bgjob.workers' => 100);
wait_until($node, "SELECT workers = $room FROM bgjob.servers", 'and their slots are free for others', 20, 'other');
set_and_reload($node, 'bgjob.workers' => 4);
give('bgjob_internal.queue');
serve_only('*');
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $long", 'the job runs again when it is served again');
sql("SELECT bgjob_delete($long)");
wait_until($node, 'SELECT workers = 0 FROM bgjob.stats', 'no workers are left', 20);

# ---- workers ----

# A session, and the scheduler, have the table open; a worker that starts has not.
my $session = $node->background_psql('postgres', on_error_stop => 1);
$session->query_safe(q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 h')});
my $id = sql(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '100 ms')});
is(sql("SELECT bgjob_wait($id, '20 s')"), 'succeeded', 'a job becomes due');
wait_until($node, 'SELECT workers = 0 FROM bgjob.stats', 'its worker has left', 20);
$from = -s $node->logfile;
take('bgjob_internal.job');
$session->query_safe(q{SELECT bgjob_enqueue('SELECT 2', kind => 'sql') FROM generate_series(1, 100)});
until_said($from, qr/LOG:  a worker for role "app" cannot take jobs/, 'workers that cannot take jobs leave');
sql('SELECT pg_sleep(1.5)');
my $later = -s $node->logfile;
sql('SELECT pg_sleep(2.5)');
cmp_ok(said($later, qr/could not open file/), '<=', 3, 'new workers are started at growing intervals, one at a time');
is(said($from, qr/cannot take jobs/), 1, 'the failure of the workers is logged once');
cmp_ok(said($from, qr/FATAL/), '==', 0, 'the log has no FATAL');
is_served('other', 'another database is served as ever');
give('bgjob_internal.job');
wait_until($node, q{SELECT count(*) = 100 FROM bgjob.jobs WHERE job = 'SELECT 2' AND state = 'succeeded'}, 'they take jobs again when what they failed of has gone', 30);
$from = -s $node->logfile;
$id = sql(q{SET SESSION AUTHORIZATION app; SELECT min(bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')) FROM generate_series(1, 4)});
wait_until($node, q{SELECT busy = 4 FROM bgjob.servers}, 'and there are as many of them as before', 20);
sql(q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('processing', 'enqueued')});
$session->quit;

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing has crashed');
check_counters($node, $_) for 'postgres', 'other';
$node->stop;
done_testing();
