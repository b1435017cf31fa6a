# Delayed jobs start when they are due, also while other sessions write all the time, so that the scheduler scans for unannounced changes every ten seconds.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('delays');
$node->safe_psql('postgres', q{
	CREATE TABLE noise (n int);
	CREATE FUNCTION nothing() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
	CREATE FUNCTION noise() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO noise VALUES (1);
		IF (SELECT count(*) FROM noise) < 240 THEN
			PERFORM bgjob_enqueue('noise', delay => '100 ms');
		END IF;
	END $$;
	-- one every half second, for 24 seconds: two looks at least come in between
	SELECT bgjob_enqueue('nothing', delay => i * interval '0.5 s') FROM generate_series(1, 48) i;
	SELECT bgjob_enqueue('noise');
});
wait_until($node, q{SELECT count(*) = 48 FROM bgjob.jobs WHERE job = 'nothing' AND state = 'succeeded'}, 'all delayed jobs have run');
my $due = q{SELECT (data->>'run_at')::timestamptz FROM bgjob.job_states s WHERE s.job_id = j.id AND s.state = 'scheduled'};
is($node->safe_psql('postgres', qq{SELECT count(*) FROM bgjob.jobs j WHERE job = 'nothing' AND started_at < ($due)}), '0', 'no job ran before its time');
# A generous bound: the fault would be a wait for the scan every ten seconds.
is($node->safe_psql('postgres', qq{SELECT count(*) FROM bgjob.jobs j WHERE job = 'nothing' AND started_at > ($due) + interval '4 s'}), '0',
	'no job waited for the slow scan');
check_counters($node);
$node->stop;
done_testing();
