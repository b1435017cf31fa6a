# Databases share the server's background workers: no database can starve another, neither by endless jobs nor by idle
# workers. There may be more databases than slots.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;

# The server's default number of slots.
my $node = bgjob_cluster('databases', max_worker_processes => 8, 'bgjob.workers' => 10, fsync => 'off');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA bgjob TO app');

# Tests that a job in a database succeeds, and starts within the given seconds.
sub is_served
{
	my ($db, $what, $seconds) = @_;
	my $id = $node->safe_psql($db, q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});

	is($node->safe_psql($db, "SELECT bgjob_wait($id, '60 s')"), 'succeeded', $what);
	cmp_ok($node->safe_psql($db, "SELECT extract(epoch FROM started_at - created_at) FROM bgjob.jobs WHERE id = $id"), '<', $seconds, 'soon');
}

sub workers_of
{
	my ($db) = @_;

	return "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bgjob worker' AND datname = '$db'";
}

# Jobs that never end; then another database gets the extension.
$node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app;
	SELECT count(bgjob_enqueue('SELECT pg_sleep(100000)', kind => 'sql')) FROM generate_series(1, 50)});
wait_until($node, q{SELECT count(*) > 0 FROM bgjob.workers WHERE state = 'busy'}, 'one database sleeps');
is($node->safe_psql('postgres', 'SELECT workers <= 10 AND workers = (SELECT count(*) FROM bgjob.workers) FROM bgjob.servers'), 't',
	'bgjob.servers says how many workers it may have');
$node->safe_psql('postgres', 'CREATE DATABASE two');
$node->safe_psql('two', 'CREATE EXTENSION bgjob');
is_served('two', 'another database', 3);
$node->safe_psql('postgres', q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')});

# Short jobs without end, which use all slots.
$node->safe_psql('postgres', q{SELECT count(*) FROM bgjob_enqueue_many('pg_sleep', array_fill('[0.02]'::jsonb, ARRAY[5000]))});
wait_until($node, workers_of('postgres') =~ s/count\(\*\)/count(*) >= 3/r, 'short jobs use what there is');
is_served('two', 'another database beside short jobs', 3);
$node->safe_psql('two', q{SELECT count(*) FROM bgjob_enqueue_many('pg_sleep', array_fill('[0.02]'::jsonb, ARRAY[3000]))});
wait_until($node, 'SELECT abs((' . workers_of('postgres') . ') - (' . workers_of('two') . ')) <= 1', 'where both have work, they have as many workers');

# Idle workers leave at once; a third database.
$node->safe_psql($_, q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')}) for 'postgres', 'two';
for my $db ('three', 'four', 'five', 'six')
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION bgjob');
}
is_served($_, "database $_ of six, with six slots", 12) for 'three', 'four', 'five', 'six', 'two', 'postgres';

# Due and recurring jobs, and unannounced ones, run also in databases whose scheduler rests.
$node->safe_psql('three', q{SELECT bgjob_recurring('beat', '*/2 * * * * *', 'SELECT 1', kind => 'sql', misfire => 'skip')});
my $due = $node->safe_psql('four', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '3 s')});
wait_until($node, q{SELECT count(*) >= 3 FROM bgjob.jobs WHERE recurring_name = 'beat' AND state = 'succeeded'}, 'a recurring job', 60, 'three');
wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $due", 'a due job', 30, 'four');
is($node->safe_psql('five', 'SELECT servers FROM bgjob.stats'), 1, 'a database whose scheduler rests is served');
$node->safe_psql('postgres', "DROP DATABASE $_") for 'three', 'four', 'five', 'six';

# A limit for all databases.
set_and_reload($node, 'bgjob.max_workers' => 2);
$node->safe_psql($_, q{SELECT count(bgjob_enqueue('SELECT pg_sleep(100000)', kind => 'sql')) FROM generate_series(1, 5)}) for 'postgres', 'two';
wait_until($node, "SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'bgjob worker'", 'bgjob.max_workers');
is($node->safe_psql('postgres', workers_of('two')), 1, 'one in each database');
set_and_reload($node, 'bgjob.max_workers' => -1);

# As many databases as slots, at a start.
$node->safe_psql($_, q{SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')}) for 'postgres', 'two';
$node->append_conf('postgresql.conf', 'max_worker_processes = 12');
$node->stop;
$node->start;
for my $i (1 .. 10)
{
	$node->safe_psql('postgres', "CREATE DATABASE d$i");
	$node->safe_psql("d$i", 'CREATE EXTENSION bgjob');
}
$node->restart;
$node->safe_psql("d$_", q{SELECT count(bgjob_enqueue('SELECT 1', kind => 'sql')) FROM generate_series(1, 3)}) for 1 .. 10;
wait_until($node, q{SELECT bool_and(state = 'succeeded') FROM bgjob.jobs}, "database d$_ of ten", 60, "d$_") for 1 .. 10;
$node->stop;
done_testing();
