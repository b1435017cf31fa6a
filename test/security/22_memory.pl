# An ordinary job costs the worker bounded memory: returned rows, trapped errors, logged lines.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);

my $node = bgjob_cluster('memory', 'bgjob.workers' => 1, fsync => 'off');

# The most that a process has had in memory, in kB.
sub peak
{
	my ($pid) = @_;

	return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : die "no such process: $pid";
}

# Runs a job, waits for its end, and returns its id.
sub run
{
	my ($call, $state) = @_;
	my $id = $node->safe_psql('postgres', "SELECT bgjob_enqueue($call, max_retries => 0)");

	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '120 s')"), $state // 'succeeded', "$call: it ends");
	return $id;
}

$node->safe_psql('postgres', q{
	CREATE FUNCTION many(n int) RETURNS SETOF text LANGUAGE sql AS 'SELECT md5(g::text) FROM generate_series(1, n) g';
	CREATE FUNCTION pairs(n int) RETURNS TABLE (a int, b text) LANGUAGE plpgsql AS $$BEGIN FOR i IN 1..n LOOP a := i; b := md5(i::text); RETURN NEXT; END LOOP; END$$;
	CREATE TABLE t (a int, b text);
	CREATE FUNCTION noise(n int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN FOR i IN 1..n LOOP
		RAISE NOTICE 'line %', i;
		PERFORM bgjob_log('line ' || i), bgjob_progress(50, 'at ' || i);
		IF i % 100 = 0 THEN PERFORM bgjob_set_parameter('p', to_jsonb(i)); END IF;
	END LOOP; END$$;
	CREATE FUNCTION trapped(n int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN FOR i IN 1..n LOOP
		BEGIN PERFORM bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'other'); RAISE EXCEPTION 'x'; EXCEPTION WHEN raise_exception THEN NULL; END;
	END LOOP; END$$});
my $first = run(q{'SELECT 1', kind => 'sql'});
my $pid = $node->safe_psql('postgres', "SELECT worker_pid FROM bgjob.jobs WHERE id = $first");
my $before = peak($pid);

# Rows.
for my $case ([q{'SELECT g, md5(g::text) AS m FROM generate_series(1, 300000) g', kind => 'sql'}, 300000], [q{'many', '[300000]'}, 300000], [q{'pairs', '[100000]'}, 100000],
	[q{'INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 100000) g RETURNING *', kind => 'sql'}, 100000])
{
	my ($call, $rows) = @$case;
	my $id = run($call);

	is($node->safe_psql('postgres', "SELECT result -> -1 FROM bgjob.jobs WHERE id = $id"), qq({"cut": true, "rows": $rows}), 'the last element of the cut result has the number of rows');
	is($node->safe_psql('postgres', "SELECT jsonb_typeof(result) || (jsonb_array_length(result) > 5000) || (length(result::text) < 3000000) FROM bgjob.jobs WHERE id = $id"),
		'arraytruetrue', 'the cut result has the first rows');
}
my $few = run(q{'SELECT g FROM generate_series(1, 1000) g', kind => 'sql'});
is($node->safe_psql('postgres', "SELECT jsonb_array_length(result) || ' ' || (result -> -1)::text FROM bgjob.jobs WHERE id = $few"), '1000 {"g": 1000}', 'a result that fits is all there');
my $large = run(q{'SELECT repeat(''x'', 3000000) AS a FROM generate_series(1, 3)', kind => 'sql'});
is($node->safe_psql('postgres', "SELECT length(result -> 0 ->> 'a') || ' ' || (result -> 1)::text FROM bgjob.jobs WHERE id = $large"), '3000000 {"cut": true, "rows": 3}',
	'the first row is kept, whatever its size');
my $none = run(q{'SELECT 1 AS a WHERE false', kind => 'sql'});
is($node->safe_psql('postgres', "SELECT result FROM bgjob.jobs WHERE id = $none"), '[]', 'no rows are an empty array');

# A result with a character that jsonb cannot store does not fail the job.
$node->safe_psql('postgres', q{CREATE FUNCTION nul(t text) RETURNS json LANGUAGE sql AS 'SELECT t::json'; CREATE FUNCTION nuls() RETURNS SETOF json LANGUAGE sql AS $$SELECT '"\u0000"'::json$$;
	CREATE FUNCTION nul_array() RETURNS json[] LANGUAGE sql AS $$SELECT ARRAY['"\u0000"', '1']::json[]$$;
	CREATE FUNCTION nul_row(OUT i integer, OUT j json) LANGUAGE sql AS $$SELECT 1, '{"k": "\u0000"}'::json$$; CREATE DOMAIN nulj AS json});
for my $case ([q{'nul', jsonb_build_array('{"a": "x\u0000y\\\\u0000", "b": "\u0000"}')}, qq({"a": "x\x{ef}\x{bf}\x{bd}y\\\\u0000", "b": "\x{ef}\x{bf}\x{bd}"})], [q{'nuls'}, qq(["\x{ef}\x{bf}\x{bd}"])],
	[q{$q$SELECT '"\u0000"'::json AS j$q$, kind => 'sql'}, qq([{"j": "\x{ef}\x{bf}\x{bd}"}])],
	[q{'nul_array'}, qq(["\x{ef}\x{bf}\x{bd}", 1])], [q{'nul_row'}, qq({"i": 1, "j": {"k": "\x{ef}\x{bf}\x{bd}"}})],
	[q{$q$SELECT ROW(1, '"\u0000"'::nulj) AS r$q$, kind => 'sql'}, qq([{"r": {"f1": 1, "f2": "\x{ef}\x{bf}\x{bd}"}}])])
{
	my ($call, $result) = @$case;
	my $id = run($call);
	my $got = $node->safe_psql('postgres', "SELECT encode(convert_to(result::text, 'UTF8'), 'hex') FROM bgjob.jobs WHERE id = $id");

	is($got, unpack('H*', $result), 'the result has another character instead');
	is($node->safe_psql('postgres', "SELECT count(*), min(level) FROM bgjob.job_logs WHERE job_id = $id AND message LIKE '%U+0000%'"), '1|warning', 'the log of the job has a warning about the character');
}

# Log lines of a job.
run(q{'noise', '[30000]'});
run(q{'trapped', '[30000]'});
is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT worker_pid::text, ',') FROM bgjob.jobs WHERE worker_pid IS NOT NULL"), $pid, 'one worker has performed them all');
cmp_ok((peak($pid) - $before) / 1024, '<', 64, 'and has never taken more than 64 MB for it');

check_counters($node);
$node->stop;
done_testing();
