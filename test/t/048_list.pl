# bgjob_list() and the map of jobs that it finds them by: it lists what bgjob.jobs shows, at a cost that does not depend on
# the number of jobs, after a restart, a rollback, a restore, beside a load, on a standby, with too little memory and with none.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use BgjobTest;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

my $node = bgjob_cluster('list', allows_streaming => 1, fsync => 'off', 'bgjob.workers' => 4, 'bgjob.list_memory' => '1MB', max_connections => 40);
sub sql { return $node->safe_psql('postgres', $_[0]) }

my @states = qw(enqueued scheduled awaiting processing succeeded failed deleted);

# blocks LISTING, ROLE, NODE: the blocks that a call reads, by EXPLAIN.
sub blocks
{
	my ($call, $role, $at) = @_;
	my $set  = $role ? "SET ROLE $role;" : '';
	my $plan = ($at // $node)->safe_psql('postgres', "$set EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM bgjob_list($call)");
	my ($hit)  = $plan =~ /shared hit=(\d+)/;
	my ($read) = $plan =~ /shared [^\n]*read=(\d+)/;

	return ($hit // 0) + ($read // 0);
}

# soon_cheap CALL, ROLE, WHAT: after some calls, which clean what they have read in vain, one is cheap.
sub soon_cheap
{
	my ($call, $role, $what) = @_;
	my $end    = time + 60;
	my $blocks = blocks($call, $role);

	$blocks = blocks($call, $role) while $blocks > 1500 && time < $end;
	cmp_ok($blocks, '<=', 1500, $what);
}

# differs: the states whose jobs bgjob_list() and the view do not agree about, in one snapshot.
my $differs = sprintf q{WITH v AS MATERIALIZED (SELECT id, state FROM bgjob.jobs)
	SELECT string_agg(s, ' ') FROM unnest('{%s}'::text[]) s
	WHERE ARRAY(SELECT id FROM bgjob_list(state => s, max_rows => 10000))
		IS DISTINCT FROM ARRAY(SELECT v.id FROM v WHERE v.state = s ORDER BY v.id DESC LIMIT 10000)}, join ',', @states;
sub same { is(sql($differs), '', $_[0]) }

sql(q{CREATE ROLE app LOGIN; CREATE ROLE rare LOGIN; GRANT USAGE ON SCHEMA bgjob TO app, rare;
	CREATE FUNCTION work(i int) RETURNS int LANGUAGE sql AS 'SELECT i';
	CREATE FUNCTION rare_work(i int) RETURNS int LANGUAGE sql AS 'SELECT i';
	CREATE FUNCTION fail(i int) RETURNS int LANGUAGE sql AS 'SELECT 1 / (i - i)';
	SELECT bgjob_queue('bulk', group_size => 500); SELECT bgjob_queue('paused', paused => true)});

# What is rare, then 60,000 other jobs, which succeed.
sql(q{SELECT count(bgjob_enqueue('work', '[1]', queue => 'paused')) FROM generate_series(1, 30);
	SELECT count(bgjob_enqueue('work', '[1]', delay => '1 day')) FROM generate_series(1, 30);
	SELECT count(bgjob_enqueue('fail', '[1]', max_retries => 0)) FROM generate_series(1, 30);
	SELECT count(bgjob_enqueue('rare_work', '[1]')) FROM generate_series(1, 30);
	SELECT count(bgjob_enqueue('work', '[1]', tags => '{rare}')) FROM generate_series(1, 30);
	SELECT count(bgjob_enqueue('SELECT 4711', kind => 'sql', queue => 'single')) FROM generate_series(1, 30);
	SELECT count(bgjob_enqueue('work', '[1]', run_as => 'rare')) FROM generate_series(1, 30);
	SELECT count(bgjob_delete(bgjob_enqueue('work', '[1]', queue => 'paused'))) FROM generate_series(1, 30)});
for my $part (1 .. 3)
{
	my $role = $part == 2 ? ", run_as => 'app'" : '';
	sql("SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(1, 20000) i), queue => 'bulk'$role)");
}
wait_until($node, q{SELECT count(*) = 0 FROM bgjob_internal.queue WHERE queue <> 'paused'}, 'all have run', 120);
wait_until($node, q{SELECT busy = 0 FROM bgjob.servers}, 'and no worker is at any');

# ---- what it costs ----

my %rare = (
	(map { $_ => "state => '$_'" } qw(enqueued scheduled failed deleted)),
	'a function' => q{job => 'rare_work'},
	'a command'  => q{job => 'SELECT 4711'},
	'a tag'      => q{tag => 'rare'},
	'a queue'    => q{queue => 'single'},
	'a role'     => q{run_as => 'rare'},
	'what is not there' => q{queue => 'none'});
for my $of (sort keys %rare)
{
	soon_cheap($rare{$of}, '', "the oldest jobs are found at once: $of");
	is(sql("SELECT count(*) FROM bgjob_list($rare{$of}, max_rows => 100)"), $of =~ /not/ ? 0 : 30, 'all of them');
}
cmp_ok(blocks(''), '<=', 1500, 'the newest jobs cost what they are');
cmp_ok(blocks(q{state => 'succeeded', before_id => 30000}), '<=', 1500, 'so do those in the middle');
soon_cheap('', 'rare', 'a role whose jobs are the oldest finds them at once');
soon_cheap(q{state => 'succeeded'}, 'app', 'so does one whose jobs are in the middle');
is(sql('SET ROLE app; SELECT count(*) FROM bgjob_list(max_rows => 10000)'), 10000, 'which sees its own');
same('all states are the same as in the view');
is(sql("BEGIN ISOLATION LEVEL SERIALIZABLE; $differs; COMMIT"), '', 'also in a serializable transaction');

# ---- a rollback, and jobs that come back ----

sql(q{BEGIN; SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(1, 20000) i), queue => 'ghost', tags => '{ghost}'); ROLLBACK});
is(sql(q{SELECT count(*) FROM bgjob_list(tag => 'ghost')}), 0, 'jobs that were rolled back are not listed');
soon_cheap(q{tag => 'ghost'}, '', 'nor looked for again and again');
my $old = sql(q{SELECT min(id) FROM bgjob.jobs WHERE queue = 'bulk'});
sql("SELECT bgjob_reschedule($old, delay => '1 day'), bgjob_delete($old + 1)");
is(sql(q{SELECT count(*) FROM bgjob_list(state => 'scheduled', queue => 'bulk')}), 1, 'a finished job that is scheduled anew is');
is(sql(q{SELECT id FROM bgjob_list(state => 'deleted') LIMIT 1}), $old + 1, 'so is one that is deleted');
sql(q{SELECT bgjob_purge('deleted')});
is(sql(q{SELECT count(*) FROM bgjob_list(state => 'deleted')}), 0, 'one that has been removed is not');
sql("BEGIN; SELECT bgjob_requeue($old + 5); PREPARE TRANSACTION 'p'");
same('a prepared transaction hides nothing');
sql(q{ROLLBACK PREPARED 'p'});

# A snapshot from before a change, while others clean. It keeps many rows of failed jobs that are none any more.
sql(q{SELECT count(*) FROM bgjob_enqueue_many('fail', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(1, 2500) i), queue => 'bulk', max_retries => 0)});
wait_until($node, q{SELECT count(*) = 2530 FROM bgjob.jobs WHERE state = 'failed'}, 'many have failed');
my $reader = $node->background_psql('postgres', on_error_stop => 1);
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
my $scheduled = sql(q{SELECT max(id) FROM bgjob.jobs WHERE state = 'scheduled'});
sql("SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state = 'scheduled' OR (state = 'failed' AND queue = 'bulk')");
is(sql(q{SELECT count(*) FROM bgjob_list(state => 'failed', max_rows => 10000)}), 30, 'behind many dead rows the others are found');
is($reader->query_safe(q{SELECT count(*) FROM bgjob_list(state => 'failed', max_rows => 10000)}), 2530, 'an old snapshot lists those that it sees');
sql(q{SELECT count(*) FROM bgjob_list(state => 'scheduled')}) for 1 .. 3;
sql(q{VACUUM bgjob_internal.job});
is($reader->query_safe(q{SELECT max(id) FROM bgjob_list(state => 'scheduled')}), $scheduled, 'an old snapshot lists what it sees');
sql(q{SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY(SELECT jsonb_build_array(i) FROM generate_series(1, 10000) i), queue => 'bulk')});
wait_until($node, q{SELECT count(*) = 0 FROM bgjob_internal.queue WHERE queue <> 'paused'}, 'more jobs run beside it');
wait_until($node, q{SELECT busy = 0 FROM bgjob.servers}, 'and end');
soon_cheap($rare{enqueued}, '', 'others find the oldest job as cheaply beside an old snapshot');
is($reader->query_safe($differs), '', 'which still lists what its view shows, in all states');
$reader->query_safe('COMMIT');
is($reader->query_safe(q{SELECT count(*) FROM bgjob_list(state => 'scheduled')}), 0, 'a new one does not');
$reader->quit;

# ---- rows that SQL writes ----

my $columns = sql(q{SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'bgjob_internal.job'::regclass AND attnum > 1});
is(sql(qq{BEGIN; INSERT INTO bgjob_internal.job (id, $columns) SELECT 10000000, $columns FROM bgjob_internal.job WHERE id = $old;
	UPDATE bgjob_internal.job SET queue = 'by_hand' WHERE id IN (10000000, $old + 7);
	SELECT count(*) FROM bgjob_list(queue => 'by_hand'); COMMIT}), 2, 'what SQL has written is listed, by its transaction');
is(sql(q{SELECT string_agg(id::text, ' ') FROM bgjob_list(queue => 'by_hand')}), '10000000 ' . ($old + 7), 'and by others');
soon_cheap(q{queue => 'by_hand'}, '', 'as cheaply as before after a while');
sql(q{DELETE FROM bgjob_internal.job WHERE id = 10000000});

# ---- a restart, and a crash ----

for my $mode ('fast', 'immediate')
{
	# The first time there are rows that SQL has written: then the small tables of the states may lack some, and are not used.
	sql('SELECT bgjob_adopt()') if $mode eq 'immediate';
	$node->stop($mode);
	$node->start;
	is(sql(q{SELECT looked_through FROM bgjob_search('state:failed', max_rows => 1000, max_time => '1 min')}), 30, 'right after a start, no jobs but those in the state are read')
		if $mode eq 'immediate';
	same("all states are the same after a stop ($mode)");
	soon_cheap($rare{failed}, '', 'and found as cheaply after a while');
}

# ---- many queues; a map without room ----

sql(q{SELECT count(bgjob_enqueue('work', '[1]', queue => 'q' || i, delay => '1 day', run_as => 'app')) FROM generate_series(1, 3000) i});
is(sql(q{SELECT count(*) FROM bgjob_list(queue => 'q1777')}), 1, 'one of 3,000 queues is found');
cmp_ok(blocks(q{queue => 'q1777'}), '<=', 1500, 'cheaply');

# The memory has room for 11 chunks of 262,144 ids; jobs in twenty of them.
for my $chunk (1 .. 20)
{
	sql("SELECT setval('bgjob_internal.job_id_seq', $chunk * 300000)");
	sql(qq{SELECT bgjob_enqueue('work', '[1]', queue => 'far', delay => '1 day'), bgjob_enqueue('work', '[1]', queue => 'paused')});
}
same('jobs are found where the map has no room for them');
is(sql(q{SELECT count(*) FROM bgjob_list(queue => 'far', max_rows => 100)}), 20, 'in the order of their ids');

# ---- another database with the same OID ----

sql(q{CREATE DATABASE template; CREATE DATABASE same OID 99999});
$node->safe_psql($_, 'CREATE EXTENSION bgjob') for 'template', 'same';
$node->safe_psql('template', q{SELECT count(bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 day')) FROM generate_series(1, 20)});
is($node->safe_psql('same', 'SELECT count(*) FROM bgjob_list()'), 0, 'a database without jobs lists none');
sql($_) for 'DROP DATABASE same', 'CREATE DATABASE same TEMPLATE template OID 99999';
is($node->safe_psql('same', 'SELECT count(*) FROM bgjob_list(max_rows => 100)'), 20, 'another one with its OID lists its own');
sql("DROP DATABASE $_") for 'same', 'template';

# ---- beside a load ----

# Sessions enqueue, delete, requeue and reschedule; workers perform; others list, and so clean.
append_to_file($node->basedir . '/load.sql', q{\set n random(1, 6)
\set id random(1, 200)
SELECT bgjob_enqueue('work', '[1]', queue => 'load', delay => make_interval(secs => greatest(:n - 3, 0)));
SELECT count(*) FROM bgjob_enqueue_many(CASE :n WHEN 1 THEN 'fail' ELSE 'work' END, ARRAY['[1]', '[2]', '[3]']::jsonb[], queue => 'load', max_retries => 0);
BEGIN;
SELECT CASE :n WHEN 1 THEN bgjob_delete(i) WHEN 2 THEN bgjob_requeue(i) WHEN 3 THEN bgjob_reschedule(i, delay => '1 s') WHEN 4 THEN bgjob_delete(i, from_state => 'failed') END
	FROM (SELECT last_value - :id AS i FROM bgjob_internal.job_id_seq) s;
ROLLBACK;
SELECT CASE :n WHEN 1 THEN bgjob_delete(i) WHEN 2 THEN bgjob_requeue(i) WHEN 3 THEN bgjob_reschedule(i, delay => '1 s') WHEN 4 THEN bgjob_delete(i, from_state => 'failed') END
	FROM (SELECT last_value - :id AS i FROM bgjob_internal.job_id_seq) s;
});
append_to_file($node->basedir . '/list.sql', q{SELECT count(*) FROM (SELECT bgjob_list(state => s, queue => 'load', max_rows => 10000) FROM unnest('{enqueued,scheduled,awaiting,processing,succeeded,failed,deleted}'::text[]) s) l;});
my @load = map { start_pgbench(@{$_}) } [ 'load.sql', 3 ], [ 'list.sql', 2 ];
my $until = time + 8;
my (@wrong, $compared);
# What is stored cannot change for a snapshot; whether a worker is at a job can.
my $stored = q{BEGIN ISOLATION LEVEL REPEATABLE READ;
	SELECT string_agg(s, ' ') FROM (VALUES ('scheduled', 's'), ('succeeded', 'k'), ('failed', 'f'), ('deleted', 'd')) n (s, letter)
	WHERE ARRAY(SELECT id FROM bgjob_list(state => s, queue => 'load', max_rows => 10000))
		IS DISTINCT FROM ARRAY(SELECT id FROM bgjob_internal.job WHERE queue = 'load' AND state = letter::"char" ORDER BY id DESC LIMIT 10000);
	COMMIT};
while (time < $until)
{
	my $wrong = sql($stored);

	push @wrong, $wrong if $wrong ne '';
	$compared++;
}
is((grep { !$_->finish } @load), 0, 'the sessions go on to the end') || diag(map { slurp_file($node->basedir . "/$_.err") } 'load.sql', 'list.sql');
is("@wrong", '', "what is listed beside a load is what the snapshot shows ($compared times)");
wait_until($node, q{SELECT count(*) = 0 FROM bgjob_internal.queue WHERE queue = 'load'}, 'the load has been performed');
wait_until($node, q{SELECT busy = 0 FROM bgjob.servers}, 'all of it');
cmp_ok(sql(q{SELECT count(*) FROM bgjob_internal.job WHERE queue = 'load'}), '>', 100, 'it was one');
same('afterwards all states are the same');

sub start_pgbench
{
	my ($script, $clients) = @_;

	return IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-j', 1, '-T', 8, '-f', $node->basedir . "/$script", '-h', $node->host, '-p', $node->port, 'postgres' ],
		'>', '/dev/null', '2>', $node->basedir . "/$script.err");
}

# ---- a standby; no memory at all ----

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $differs), '', 'a standby lists the same as its view');
cmp_ok(blocks("state => '$_'", '', $standby), '<=', 1500, "and finds few jobs at once: $_") for 'awaiting', 'processing';
$standby->promote;
$standby->safe_psql('postgres', q{SELECT bgjob_enqueue('work', '[1]', queue => 'promoted', delay => '1 day')});
is($standby->safe_psql('postgres', q{SELECT count(*) FROM bgjob_list(queue => 'promoted')}), 1, 'when it is promoted it lists a new job');
is($standby->safe_psql('postgres', $differs), '', 'and all others');
$standby->stop;

$node->append_conf('postgresql.conf', 'bgjob.list_memory = 0');
$node->restart;
same('without memory it lists the same');

is(slurp_file($node->logfile) =~ /(PANIC:.*|TRAP:.*|terminated by signal (?:6|11).*)/ ? $1 : '', '', 'nothing has crashed');
sql(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state IN ('enqueued', 'scheduled')});
check_counters($node);
$node->stop;
done_testing();
