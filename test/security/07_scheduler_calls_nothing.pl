# The scheduler never calls a role's code. Events without a session (a job is due, a recurring job creates one, a job has lost its
# worker) are settled by a worker of the job's role if the job has filters.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('calls_nothing', 'bgjob.workers' => 6, 'max_worker_processes' => 20);

sub value { my ($query) = @_; return $node->safe_psql('postgres', $query) }

value(q{
	CREATE EXTENSION crashme;
	CREATE ROLE auditor;
	CREATE ROLE app LOGIN;
	CREATE ROLE other LOGIN;
	CREATE ROLE gone LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO auditor, app, other, gone;
	CREATE SCHEMA audit;
	CREATE TABLE audit.seen (n serial, filter text, event text, job bigint, came_from text, state text, reason text, pid int DEFAULT pg_backend_pid(),
		by_session name DEFAULT session_user, by_owner name DEFAULT current_user, recurring text);
	CREATE FUNCTION audit.note(c jsonb) RETURNS jsonb LANGUAGE sql AS $$
		INSERT INTO audit.seen (event, job, came_from, state, reason)
		VALUES (c ->> 'event', (c ->> 'id')::bigint, c ->> 'from', coalesce(c ->> 'to', c ->> 'state'), c ->> 'reason') RETURNING NULL::jsonb $$;
	CREATE TABLE audit.answer (event text, job text, state text, answer jsonb);
	CREATE FUNCTION audit.say(c jsonb) RETURNS jsonb LANGUAGE sql AS $$
		SELECT answer FROM audit.answer a WHERE a.event = c ->> 'event' AND c ->> 'job' LIKE a.job AND (a.state IS NULL OR a.state = c ->> 'state') $$;
	CREATE FUNCTION audit.crash(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM public.crashme_exit(1); RETURN NULL; END $$;
	CREATE FUNCTION audit.sleep(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(4); RETURN NULL; END $$;
	ALTER SCHEMA audit OWNER TO auditor;
	ALTER TABLE audit.seen OWNER TO auditor;
	ALTER TABLE audit.answer OWNER TO auditor;
	ALTER FUNCTION audit.note(jsonb) OWNER TO auditor;
	ALTER FUNCTION audit.say(jsonb) OWNER TO auditor;
	ALTER FUNCTION audit.crash(jsonb) OWNER TO auditor;
	ALTER FUNCTION audit.sleep(jsonb) OWNER TO auditor;
	CREATE FUNCTION plain(x text) RETURNS text LANGUAGE sql AS 'SELECT x';
	CREATE FUNCTION plain_2(x text) RETURNS text LANGUAGE sql AS 'SELECT x';
	CREATE FUNCTION slow(x text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(300); RETURN x; END $$;
	CREATE PROCEDURE ends_worker() LANGUAGE plpgsql AS $$ BEGIN COMMIT; PERFORM crashme_exit(1); END $$;
	CREATE FUNCTION filters(func text, VARIADIC events text[]) RETURNS void LANGUAGE sql AS $$
		SELECT count(bgjob_filter(func || ' ' || e, e, func)) FROM unnest(events) e $$;
	CREATE FUNCTION seen(id bigint) RETURNS text LANGUAGE sql AS $$
		SELECT string_agg(event || ':' || coalesce(came_from, '') || '>' || state, ' ' ORDER BY n) FROM audit.seen WHERE job = id AND event <> 'electing' $$;
});
my $scheduler = value(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});
sub wait_for { my ($id, $seconds) = @_; return value("SELECT bgjob_wait($id, '" . ($seconds // 60) . " s')") }
sub as_app { my ($query) = @_; return value("SET SESSION AUTHORIZATION app; $query") }
sub clear { value('SELECT count(bgjob_filter_remove(name)) FROM bgjob.filters; TRUNCATE audit.seen, audit.answer') }

# ---- a job is due

value(q{SELECT filters('audit.note', 'electing', 'applied', 'unapplied')});
my $big = 'md5(i::text)';
my $id = as_app(q{SELECT bgjob_enqueue('plain', jsonb_build_array((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i)), delay => '200 ms')});
is(wait_for($id), 'succeeded', 'a delayed job with 12 kB of arguments succeeds');
is(value("SELECT seen($id)"), 'applied:>scheduled unapplied:>enqueued applied:scheduled>enqueued unapplied:>processing applied:enqueued>processing unapplied:>succeeded applied:processing>succeeded',
	'filters learn of all that happens to it, once and in order');
is(value("SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $id"), 'scheduled enqueued processing succeeded', 'the history of the delayed job is the usual one');
is(value("SELECT count(*) FROM audit.seen WHERE pid = $scheduler"), '0', 'nothing is called in the scheduler');
is(value("SELECT string_agg(DISTINCT by_session || '/' || by_owner, ' ') FROM audit.seen WHERE job = $id"), 'app/auditor', 'the filters are called in a session of the role of the job, as their owner');
is(value("SELECT sum(jobs_done) FROM bgjob.workers WHERE role::text = 'app'"), '1', 'that worker has performed one job');

# A filter's answer
clear();
value(q{SELECT filters('audit.say', 'electing'), filters('audit.note', 'applied', 'unapplied')});
for my $case (
	['deleted', '{"state": "deleted", "reason": "too late"}', 'deleted too late'],
	['failed', '{"state": "failed"}', 'failed Failed by filter "audit.say electing"'],
	['put off', '{"state": "scheduled", "run_at": "2100-01-01", "reason": "not now"}', 'scheduled not now'])
{
	my ($name, $answer, $end) = @$case;
	$id = as_app(q{SELECT bgjob_enqueue('plain', '["x"]', delay => '200 ms', tags => '{asked}')});
	value("TRUNCATE audit.answer; INSERT INTO audit.answer VALUES ('electing', 'plain', 'enqueued', '$answer')");
	wait_until($node, "SELECT state || ' ' || reason = '$end' FROM bgjob.jobs WHERE id = $id", "a job that is due is $name where a filter wants that");
}
is(value("SELECT args, run_at::date FROM bgjob.jobs WHERE id = $id"), '["x"]|2100-01-01', 'the job has the time that the filter returned');

# ---- a recurring job creates one

clear();
value(q{SELECT filters('audit.say', 'creating'), filters('audit.note', 'created', 'applied');
	INSERT INTO audit.answer VALUES ('creating', 'plain', NULL, '{"queue": "changed", "args": ["changed"], "priority": 3}'), ('creating', 'plain_2', NULL, '{"cancel": "on holiday"}')});
as_app(q{SELECT bgjob_recurring('one', '1 second', 'plain', '["given"]', unique_key => 'k'), bgjob_recurring('two', '1 second', 'plain_2', '["given"]', jitter => '300 ms')});
wait_until($node, q{SELECT count(*) >= 2 FROM bgjob.jobs WHERE recurring_name = 'one' AND state = 'succeeded'}, 'jobs of a recurring one succeed');
is(value(q{SELECT string_agg(DISTINCT format('%s %s %s %s', queue, args, priority, parameters ? 'scheduled_for'), ',') FROM bgjob.jobs WHERE recurring_name = 'one' AND state = 'succeeded'}),
	'changed ["changed"] 3 t', 'the jobs have the changes of creating');
wait_until($node, q{SELECT error = 'A filter refused the job: on holiday' FROM bgjob.recurring_jobs WHERE name = 'two'}, 'a recurring job whose job creating cancels shows the reason');
as_app(q{SELECT bgjob_recurring_remove('one'), bgjob_recurring_remove('two')});
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob_internal.job WHERE pending IS NOT NULL)}, 'all events left to workers are settled');
is(value(q{SELECT count(*) FROM bgjob.jobs WHERE recurring_name = 'two'}), '0', 'the canceled jobs do not exist');
is(value(q{SELECT count(*) FROM bgjob_internal.unique_key}), '0', 'the canceled jobs hold no key');
is(value(q{SELECT bool_and(c) FROM (SELECT count(*) FILTER (WHERE event = 'created') = 1 AND count(*) FILTER (WHERE event = 'applied' AND s.state = 'enqueued') = 1 AS c
	FROM audit.seen s JOIN bgjob.jobs j ON j.id = s.job WHERE recurring_name = 'one' AND j.state = 'succeeded' GROUP BY j.id) x}), 't', 'created and applied are called once for each');
is(value("SELECT count(*) FROM audit.seen WHERE pid = $scheduler"), '0', 'no filter is called in the scheduler');

# ---- a job has lost its worker

clear();
value(q{SELECT filters('audit.note', 'electing', 'applied', 'unapplied')});
$id = as_app(q{SELECT bgjob_enqueue('crashme_exit', '[1]')});
is(wait_for($id), 'failed', 'a job that ends its worker fails in the end');
is(value("SELECT reason FROM bgjob.jobs WHERE id = $id"), 'Ended its worker 3 times', 'for that reason');
is(value("SELECT string_agg(reason, ', ' ORDER BY n) FROM audit.seen WHERE event = 'electing' AND reason LIKE 'Ended%'"),
	'Ended its worker, 1 of 3 times, Ended its worker, 2 of 3 times, Ended its worker 3 times', 'the reasons in the history');
is(value("SELECT string_agg(came_from || '>' || state, ' ' ORDER BY n) FROM audit.seen WHERE event = 'applied' AND reason LIKE 'Ended%'"), 'processing>enqueued processing>enqueued processing>failed', 'filters are called for each change of state');
is(value("SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $id"), 'enqueued processing enqueued processing enqueued processing failed', 'the history has all attempts');
is(value("SELECT count(*) FROM audit.seen WHERE pid = $scheduler"), '0', 'no filter is called in the scheduler for lost jobs');
$id = value(q{SELECT bgjob_enqueue('ends_worker', kind => 'function', run_as => 'postgres')});
is(wait_for($id), 'failed', 'a procedure that ends its worker fails, too');
is(value("SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $id"), 'enqueued processing enqueued processing enqueued processing failed', 'the procedure has the same history');
is(value('SELECT count(*) FROM bgjob_internal.claim'), '0', 'no claim is left');

# ---- another change comes first

clear();
value(q{SELECT filters('audit.note', 'applied', 'unapplied'); SELECT bgjob_queue('held', paused => true)});
my %asked = (bgjob_delete => 'scheduled>deleted', bgjob_requeue => 'scheduled>enqueued', bgjob_reschedule => 'scheduled>scheduled');
my %job = map { $_ => as_app(q{SELECT bgjob_enqueue('plain', '["x"]', delay => '100 ms', queue => 'held')}) } sort keys %asked;
wait_until($node, q{SELECT count(*) = 3 FROM bgjob_internal.job WHERE pending IS NOT NULL}, 'jobs of a paused queue are due, and wait there');
is(value(q{SELECT string_agg(DISTINCT state, ' ') FROM bgjob.jobs WHERE queue = 'held'}), 'enqueued', 'due jobs of the paused queue are enqueued');
value('TRUNCATE audit.seen');
for my $function (sort keys %asked)
{
	my $more = $function eq 'bgjob_reschedule' ? ", now() + interval '1 hour'" : '';
	is(as_app("SELECT $function($job{$function}$more)"), 't', "$function of one");
	is(value("SELECT string_agg(came_from || '>' || state, ' ') FROM audit.seen WHERE job = $job{$function} AND event = 'applied'"), $asked{$function}, 'from is the state that the filters were called for last');
}
is(value(q{SELECT count(*) FROM bgjob_internal.job WHERE pending IS NOT NULL}), '0', 'nothing is left to settle');
value(qq{SELECT bgjob_queue_resume('held')});
is(wait_for($job{bgjob_requeue}), 'succeeded', 'the requeued one runs');

# The filters are removed meanwhile; and a crash of the server.
value(q{SELECT bgjob_queue_pause('held')});
my $first = as_app(q{SELECT bgjob_enqueue('plain', '["x"]', delay => '100 ms', queue => 'held')});
wait_until($node, "SELECT pending IS NOT NULL FROM bgjob_internal.job WHERE id = $first", 'the event of a due job in the paused queue is pending');
value('TRUNCATE audit.seen');
$node->stop('immediate');
$node->start;
my $second = as_app(q{SELECT bgjob_enqueue('plain', '["x"]', delay => '100 ms', queue => 'held')});
wait_until($node, "SELECT pending IS NOT NULL FROM bgjob_internal.job WHERE id = $second", 'the event of a second job is pending after a crash of the server');
value(q{SELECT bgjob_queue_resume('held')});
is(wait_for($first) . wait_for($second), 'succeededsucceeded', 'both jobs succeed');
is(value("SELECT seen($first)"), 'unapplied:>enqueued applied:scheduled>enqueued unapplied:>processing applied:enqueued>processing unapplied:>succeeded applied:processing>succeeded', 'each pending event is settled once');
value(q{SELECT bgjob_queue_pause('held')});
$first = as_app(q{SELECT bgjob_enqueue('plain', '["x"]', delay => '100 ms', queue => 'held')});
wait_until($node, "SELECT pending IS NOT NULL FROM bgjob_internal.job WHERE id = $first", 'the event of a job whose filters are removed is pending');
clear();
value(q{SELECT bgjob_queue_resume('held')});
is(wait_for($first), 'succeeded', 'runs');
is(value("SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $first"), 'scheduled enqueued processing succeeded', 'the job without filters has the usual history');

# ---- hostile filters and rows

# A filter that ends each worker is not called for ever.
value(q{SELECT bgjob_queue_pause('held')});
$first = as_app(q{SELECT bgjob_enqueue('plain', '["x"]', delay => '100 ms', queue => 'held')});
value(q{SELECT filters('audit.crash', 'electing'); SELECT bgjob_queue_resume('held')});
is(wait_for($first), 'failed', 'a job whose filter ends its workers fails');
like(value("SELECT reason FROM bgjob.jobs WHERE id = $first"), qr/^Ended its worker \d times$/, 'for that reason');
clear();

# A filter that sleeps delays only its own jobs.
value(q{SELECT bgjob_filter('s', 'electing', 'audit.sleep', jobs => 'plain_2')});
value(q{SELECT bgjob_filter_remove('s')});
as_app(q{SELECT count(bgjob_enqueue('plain_2', '["x"]', delay => '300 ms')) FROM generate_series(1, 20)});
value(q{SELECT bgjob_filter('s', 'electing', 'audit.sleep', jobs => 'plain_2')});
$id = value(q{SET SESSION AUTHORIZATION other; SELECT bgjob_enqueue('plain', '["x"]', delay => '400 ms')});
my $began = time;
is(wait_for($id), 'succeeded', 'while filters sleep, a delayed job of another role runs');
cmp_ok(time - $began, '<', 4, 'the delayed job does not wait for the filters');
value(q{SELECT bgjob_filter_remove('s'); SELECT count(bgjob_delete(id)) FROM bgjob.jobs WHERE job = 'plain_2'});

# Rows that were written by hand.
my @odd = ('[]', '{}', '"due"', '{"event": "nonsense"}', '{"event": "start"}', '{"event": "retry", "from": "x"}', '{"event": "due", "from": "failed"}', '{"event": "interrupt", "started_at": "x"}',
	'{"event": "due", "from": "scheduled"}', '{"event": "reschedule", "from": "scheduled", "run_at": 1e300}');
value(q{SELECT filters('audit.note', 'electing', 'applied', 'unapplied'); SELECT bgjob_queue_pause('held')});
my @ids = map { as_app(qq{SELECT bgjob_enqueue('plain', '["odd"]', queue => 'held')}) } @odd;
value("UPDATE bgjob_internal.job SET pending = '$odd[$_]' WHERE id = $ids[$_]") for 0 .. $#odd;
value(q{SELECT bgjob_queue_resume('held')});
is(join(' ', map { wait_for($_) } @ids), join(' ', ('succeeded') x @ids), 'malformed pending events are ignored');
is(value('SELECT count(*) FROM bgjob_internal.job WHERE pending IS NOT NULL'), '0', 'malformed pending events are removed');

# A role that has been dropped has no worker.
$id = value(q{SET SESSION AUTHORIZATION gone; SELECT bgjob_enqueue('plain', '["x"]', delay => '600 ms')});
value('DROP OWNED BY gone; DROP ROLE gone');
is(wait_for($id), 'failed', 'a job whose role has been dropped fails');
clear();

check_counters($node);
done_testing();
