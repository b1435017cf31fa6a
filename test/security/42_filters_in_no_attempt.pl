# A filter called for an event that a worker settles for the scheduler runs in no attempt: functions for the inside of a job
# raise an error there. The error does not make the worker settle the event again and again and delay the role's other jobs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('noattempt', 'bgjob.workers' => 2);
sub value { return $node->safe_psql('postgres', $_[0]) }

value(<<'SQL');
CREATE ROLE app LOGIN;
GRANT USAGE ON SCHEMA bgjob TO app;
CREATE SCHEMA a AUTHORIZATION app;
GRANT EXECUTE ON FUNCTION bgjob_filter, bgjob_filter_remove TO app;
SET SESSION AUTHORIZATION app;
CREATE TABLE a.results (call text, state text);
CREATE FUNCTION a.good() RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION a.tries(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	call text;
BEGIN
	IF coalesce(context ->> 'to', context ->> 'state') = 'processing' THEN
		RETURN NULL; -- there it is in an attempt
	END IF;
	FOREACH call IN ARRAY ARRAY['bgjob_snooze(''1 s'')', 'bgjob_discard()', 'bgjob_log(''x'')', 'bgjob_progress(1)', 'bgjob_set_parameter(''a'', ''1'')',
			'bgjob_parameter(''a'')', 'bgjob_cancel_requested()'] LOOP
		BEGIN
			EXECUTE 'SELECT public.' || call;
			INSERT INTO a.results VALUES (call, '00000');
		EXCEPTION WHEN OTHERS OR query_canceled THEN
			INSERT INTO a.results VALUES (call, SQLSTATE);
		END;
	END LOOP;
	RETURN NULL;
END$$;
SQL

# The scheduler leaves each of these events to a worker: a job comes due, and a recurring job makes one.
for my $event (qw(electing applied creating created))
{
	value("SET SESSION AUTHORIZATION app; SELECT bgjob_filter('f', '$event', 'a.tries')");
	my $job = $event =~ /^creat/
		? do { value(qq{SET SESSION AUTHORIZATION app; SELECT bgjob_recurring('$event', '\@every_second', 'a.good')}); undef }
		: value(q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('a.good', delay => '1 s')});
	my $done = defined $job ? "id = $job" : "recurring_name = '$event'";
	wait_until($node, "SELECT coalesce(bool_or(state = 'succeeded'), false) FROM bgjob.jobs WHERE $done", "filter of \"$event\": the job is performed", 20);
	value(qq{SET SESSION AUTHORIZATION app; SELECT bgjob_recurring_remove('$event'), bgjob_filter_remove('f')});
	is(value(q{SELECT count(*) > 0 FROM a.results WHERE state = '55000'}), 't', 'the filter was called and got 55000');
	value('DELETE FROM a.results');
}
is(value(q{SELECT count(*) FROM bgjob.jobs WHERE run_as = 'app'::regrole AND reason ~ 'Snoozed'}), '0', 'no job has been put off');
check_counters($node);
done_testing();
