# A cancel or a deletion affects the given job, never another one.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('signals');
$node->safe_psql('postgres', q{
	CREATE FUNCTION hold() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(600)';
	CREATE FUNCTION tiny() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(0.0005)';
	CREATE FUNCTION unresponsive() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_sleep(600);
	EXCEPTION WHEN query_canceled THEN
		PERFORM 1;
	END $$;
});

# pg_cancel_backend()
my $id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('hold', max_retries => 0)});
wait_until($node, qq{SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id}, 'a job runs');
my $pid = $node->safe_psql('postgres', qq{SELECT worker_pid FROM bgjob.jobs WHERE id = $id});
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'failed', 'a job canceled by pg_cancel_backend() fails');
is($node->safe_psql('postgres', "SELECT error->>'sqlstate' FROM bgjob.jobs WHERE id = $id"), '57014', 'the canceled job has SQLSTATE 57014');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
$id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('tiny')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'a job after the cancel of an idle worker succeeds');
is($node->safe_psql('postgres', "SELECT count(*) FROM bgjob.workers WHERE pid = $pid"), '1', 'the worker stays');

# A job that traps the cancel is ended.
$id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('unresponsive')});
wait_until($node, qq{SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id}, 'a job that traps cancels runs');
is($node->safe_psql('postgres', "SELECT bgjob_delete($id)"), 't', 'deleted');
is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'deleted', 'the job ends as deleted');
$id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('hold')});
wait_until($node, qq{SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id}, 'a job runs');
is($node->safe_psql('postgres', "SELECT bgjob_reschedule($id, delay => '1 hour')"), 't', 'rescheduled while it runs');
wait_until($node, qq{SELECT state = 'scheduled' AND retries = 0 FROM bgjob.jobs WHERE id = $id}, 'the rescheduled job is scheduled');

# Thousands of tiny jobs with random deletions: all others succeed.
$node->safe_psql('postgres', q{
	CREATE TABLE victim (id bigint, answer boolean);
	SELECT count(*) FROM bgjob_enqueue_many('tiny', array_fill(NULL::jsonb, ARRAY[4000]), max_retries => 0);
});
my $deleted = 0;
for (1 .. 40)
{
	$node->safe_psql('postgres', q{
		DO $$
		DECLARE v bigint;
		BEGIN
			FOR i IN 1 .. 10 LOOP
				SELECT job_id INTO v FROM bgjob.workers WHERE job_id IS NOT NULL ORDER BY random() LIMIT 1;
				IF v IS NOT NULL THEN
					INSERT INTO victim SELECT v, bgjob_delete(v, 'processing');
				END IF;
			END LOOP;
		END $$});
}
wait_until($node, q{SELECT bool_and(state IN ('succeeded', 'deleted')) FROM bgjob.jobs WHERE job = 'tiny'}, 'all jobs have ended', 120);
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE job = 'tiny' AND state = 'deleted' AND id NOT IN (SELECT id FROM victim WHERE answer)}),
	'0', 'no other job was deleted');
is($node->safe_psql('postgres', q{SELECT count(*) FROM victim JOIN bgjob.jobs USING (id) WHERE answer AND state <> 'deleted'}), '0',
	'every accepted deletion took effect');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM victim WHERE answer'), '>', 0, 'some jobs were deleted while they ran');
check_counters($node);
$node->stop;
done_testing();
