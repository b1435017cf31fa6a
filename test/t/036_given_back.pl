# A job that a transaction has taken out of its queue starts at once after the rollback, not after the next scan.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('given_back', 'bgjob.workers' => 1);
$node->safe_psql('postgres', q{
	CREATE EXTENSION dblink;
	CREATE TABLE ran (label text);
	CREATE FUNCTION run(label text) RETURNS void LANGUAGE sql AS 'INSERT INTO ran VALUES (label)';
	CREATE FUNCTION hold() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_lock_shared(77), pg_advisory_unlock_shared(77)';
	CREATE PROCEDURE until(query text, seconds float8 = 40) LANGUAGE plpgsql AS $$
	DECLARE
		met boolean;
		stop timestamptz := clock_timestamp() + seconds * interval '1 s';
	BEGIN
		LOOP
			EXECUTE query INTO met;
			COMMIT;
			EXIT WHEN met OR clock_timestamp() > stop;
			PERFORM pg_sleep(0.005);
		END LOOP;
	END $$});

# The only worker is busy; another session locks the job; the worker skips it; the session rolls back.
foreach my $case ([ 'ROLLBACK', 'SELECT bgjob_delete(%s)' ], [ 'ROLLBACK', q{SELECT bgjob_reschedule(%s, delay => '1 hour')} ], [ 'ROLLBACK TO s', 'SELECT bgjob_requeue(%s)' ],
	[ 'ROLLBACK', 'SELECT bgjob_change(%s, priority => -9)' ])
{
	my ($end, $take) = @$case;
	my $took = $node->safe_psql('postgres', sprintf q{
		SELECT dblink_connect('other', %s) AS x \gset
		TRUNCATE ran;
		SELECT pg_advisory_lock(77) AS x \gset
		SELECT bgjob_enqueue('hold') AS x \gset
		CALL until($$SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted$$);
		SELECT bgjob_enqueue('run', '["taken"]') AS job \gset
		SELECT dblink_exec('other', 'BEGIN') AS x, dblink_exec('other', 'SAVEPOINT s') AS y \gset
		SELECT x FROM dblink('other', format(%s, :job)) AS t (x text) \gset
		SELECT bgjob_enqueue('run', '["behind"]', priority => -5) AS x \gset
		SELECT pg_advisory_unlock(77) AS x \gset
		CALL until($$SELECT count(*) = 1 FROM ran WHERE label = 'behind'$$);
		SELECT clock_timestamp() AS given_back \gset
		SELECT dblink_exec('other', %s) AS x \gset
		CALL until($$SELECT count(*) = 1 FROM ran WHERE label = 'taken'$$);
		SELECT (SELECT count(*) FROM ran) || ' ' || (clock_timestamp() - :'given_back'::timestamptz < '4 s');
		SELECT dblink_disconnect('other') AS x \gset
	}, quote($node->connstr('postgres')), quote($take), quote($end));
	is($took, '2 true', "$end of a " . ($take =~ /(bgjob_\w+)/)[0] . ' gives the job back at once');
}
check_counters($node);
sub quote { return "'" . $_[0] =~ s/'/''/gr . "'" }
done_testing();
