# A job that leaves more temporary tables than one transaction can drop blocks no other job: its worker drops them in
# batches.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);

my $node = bgjob_cluster('left_behind', 'bgjob.workers' => 1, max_locks_per_transaction => 10, max_worker_processes => 12, fsync => 'off');
$node->safe_psql('postgres', q{CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA bgjob TO app; GRANT TEMP ON DATABASE postgres TO app;
	CREATE PROCEDURE manytemp(n int) LANGUAGE plpgsql AS $$
	BEGIN FOR i IN 1..n LOOP EXECUTE 'CREATE TEMP TABLE tmp' || i || ' (a serial, b int GENERATED ALWAYS AS IDENTITY)'; IF i % 20 = 0 THEN COMMIT; END IF; END LOOP; END$$;
	CREATE PROCEDURE parts(n int) LANGUAGE plpgsql AS $$
	BEGIN CREATE TEMP TABLE p (a int, b text) PARTITION BY LIST (a); CREATE TEMP VIEW v AS SELECT * FROM p; COMMIT;
		FOR i IN 1..n LOOP EXECUTE format('CREATE TEMP TABLE p%s PARTITION OF p FOR VALUES IN (%s)', i, i); COMMIT; END LOOP; END$$});

for my $call (q{'manytemp', '[1500]'}, q{'parts', '[130]'})
{
	my $id = $node->safe_psql('postgres', "SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue($call, max_retries => 0)");

	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', "$call");
	my $next = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('SELECT to_regclass(''tmp1'') AS t, to_regclass(''p'') AS p', kind => 'sql')});
	is($node->safe_psql('postgres', "SELECT bgjob_wait($next, '60 s')"), 'succeeded', 'the next job succeeds');
	is($node->safe_psql('postgres', "SELECT result FROM bgjob.jobs WHERE id = $next"), '[{"p": null, "t": null}]', 'the next job sees no temporary table and no prepared statement');
	is($node->safe_psql('postgres', "SELECT (SELECT worker_pid FROM bgjob.jobs WHERE id = $id) = (SELECT worker_pid FROM bgjob.jobs WHERE id = $next)"), 't', 'the next job ran in the same worker');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind <> 'i'}), '0', 'the temporary tables are dropped');
}
unlike(slurp_file($node->logfile), qr/out of shared memory/, 'the table of locks was never full');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)/, 'nothing has crashed');
check_counters($node);
$node->stop;
done_testing();
