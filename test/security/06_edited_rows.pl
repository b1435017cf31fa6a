# Rows that bgjob never writes, but a superuser or a restore may: the job fails or does not run, the server survives, all
# other jobs run, the views can be read, and the log is not flooded.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('edited');
$node->safe_psql('postgres', q{
	CREATE ROLE alice LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO alice;
	CREATE FUNCTION fine(n int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT n';
	CREATE FUNCTION fails(n int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT n / 0';
	CREATE TABLE edited (id bigint, how text);
	INSERT INTO bgjob_internal.settings VALUES
		(-1, 0, '1'), (-2, 0, '[]'), (-3, 0, '[[1, "a"], {"b": 2}]'), (-4, 0, '"text"'), (-5, 0, 'null'),
		(-6, 0, '{"TimeZone": 1, "DateStyle": {"a": {"b": [1]}}, "job": 1, "func": []}'),
		(-7, 0, '{"retry_delays": {"a": 1}, "retry_on": {"b": 2}, "no_retry_on": {"c": 3}}'),
		(-8, 0, '{"retry_delays": [[1], null, "x"], "retry_on": [1, null, [2]], "no_retry_on": [{}]}'),
		(-9, 0, '{"retry_delays": [1e300, -5], "on_exhausted": 5}'),
		(-10, 0, '{"retry_delays": [-5, 1e308]}'),
		(-11, 0, (repeat('{"a":', 3000) || '1' || repeat('}', 3000))::jsonb),
		(-12, 0, '["TimeZone", "job", "func", "retry_delays", "retry_on", "on_exhausted"]');
	CREATE PROCEDURE edit(call text, how text) LANGUAGE plpgsql AS $$
	DECLARE id bigint;
	BEGIN
		id := bgjob_enqueue(call);
		EXECUTE 'UPDATE bgjob_internal.job SET ' || how || ' WHERE id = ' || id;
		INSERT INTO edited VALUES (id, how);
	END $$;
});

# each_way CALL, HOW… edits one job in each way.
sub each_way
{
	my ($call, @ways) = @_;
	my $edits = join("\n", map { my $how = s/'/''/gr; "CALL edit('$call', '$how');" } @ways);
	my ($ret, $out, $err) = $node->psql('postgres', $edits);
	is($err, '', "$call runs with all edited rows");
}

# lives WHAT tests that a job of another role still runs.
sub lives
{
	my ($what) = @_;
	my $id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('fine', priority => -30000, queue => 'last')});
	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', "$what: a later job runs");
	$id = $node->safe_psql('postgres', q{SET ROLE alice; SELECT bgjob_enqueue('fine')});
	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', "$what: others' jobs run");
	foreach my $view (qw(jobs job_states job_logs queues functions function_stats metrics filters recurring_jobs servers workers stats stats_history))
	{
		my ($ret, $out, $err) = $node->psql('postgres', "SELECT count(v::text) FROM bgjob.$view v");
		is($err, '', "$what: bgjob.$view can be read");
	}
}

my @shapes = ('1', '"a"', 'null', '[]', '{}', '[[1], {"a": {"b": []}}, null]', '{"a": [1], "app.x": {"b": 1}, "app.y": null, "message": {"c": 1}, "traceparent": 5}');
my @counters = map { my $c = $_; map { "$c = $_" } -2147483648, -1, 2147483647 } qw(retries max_retries interruptions crashes states logs worker_pid);
my @times = map { my $c = $_; map { "$c = '$_'" } 'infinity', '-infinity', '4713-01-01 BC', '294276-12-31' } qw(created_at started_at finished_at entered_at run_at);
my @jsons = map { my $c = $_; map { "$c = '$_'" } @shapes } qw(args custom_settings parameters error result);
my @numbers = map { my $c = $_; map { "$c = $_" } (map { -$_ } 1 .. 12), 0, '9223372036854775807' } qw(call_id settings_id policy_id);
my @others = (
	"state = '?'", "state = ''", "state = 'k'", "state = 'p'", "state = 's'", "kind = '?'", "kind = ''", "kind = 's'", "kind = 'e'",
	'call_id = NULL', "call_id = NULL, kind = 's'", "call_id = NULL, kind = '?'", "call_id = NULL, job = 'SELECT 1'",
	"queue = repeat('q', 100)", "queue = ''", 'priority = 32767', 'priority = -32768', 'pos = NULL', 'pos = -1', 'pos = 9223372036854775807',
	'run_as = 0', 'run_as = 4000000000', 'enqueued_by = 0', 'enqueued_by = 4000000000',
	"timeout = '-1 s'", "timeout = '170000000 years'", "start_within = '-1 s'", "start_within = '170000000 years'", "start_within = '-170000000 years'", "retention = '-170000000 years'", "retention = '170000000 years'",
	"retry_delays = '{}'", "retry_delays = '{NULL}'", "retry_delays = '{{-1 s},{170000000 years}}'", "retry_delays = '{-170000000 years}', retries = -1, max_retries = 5",
	"tags = ARRAY[[NULL, 'a'], ['b', NULL]]", "tags = '{}'", "limits = '{{NULL}}'", "after = '{{1, NULL}}'", "recurring_name = ''",
	"progress = 'NaN'", "unique_key = ''", "entry_reason = repeat('r', 100000)", "max_retries = 5, retries = -1, policy_id = -10",
	'max_retries = 5, retries = -1, policy_id = -8', 'retries = 2147483647, max_retries = 2147483647');

each_way('fine', @counters, @times, @jsons, @numbers, @others);
each_way('fails', @counters, @jsons, @numbers, @others);
lives('edited jobs');

# In the queue: lanes whose number is not what follows from queue and priority, and queues of no or too long a name.
$node->safe_psql('postgres', q~
	INSERT INTO bgjob_internal.queue (lane, pos, role, job_tid, job, queue, priority)
	SELECT lane, 1000000 + lane % 1000, role, '(0,1)', job, queue, priority
	FROM unnest(ARRAY[-9223372036854775808, -5, 0, 7, 9223372036854775807]) lane,
		unnest(ARRAY['alice'::regrole, 'postgres', '0', '4000000000']) role,
		unnest(ARRAY[NULL, -1, 1, 9223372036854775807]) job,
		unnest(ARRAY[repeat('q', 200), '', 'default']) queue, unnest(ARRAY[0, 32767, -32768]) priority
	ON CONFLICT DO NOTHING;
	INSERT INTO bgjob_internal.schedule SELECT at, job, role, queue FROM unnest(ARRAY['alice'::regrole, 'postgres', '0', '4294967295']) role, unnest('{-infinity,"4713-01-01 BC",2000-01-01,294276-12-31,infinity}'::timestamptz[]) at,
		unnest(ARRAY[-9223372036854775808, 0, 1, 9223372036854775807]) job, unnest(ARRAY[repeat('q', 200)]) queue;
	INSERT INTO bgjob_internal.failure VALUES (-1, 'postgres', ''), (0, 0, repeat('q', 200));
	INSERT INTO bgjob_internal.claim VALUES (-1, -1, '-infinity'), (0, 0, 'infinity');
	INSERT INTO bgjob_internal.state VALUES (1, -1, '?', 'infinity', NULL, '1'), (2, 2147483647, '', '-infinity', NULL, '[]');
	INSERT INTO bgjob_internal.log VALUES (1, -1, 'infinity', '', '');
	INSERT INTO bgjob_internal.total VALUES ('?', -1), ('k', 9223372036854775807), ('k', 9223372036854775807);
	INSERT INTO bgjob_internal.unique_key VALUES (0, '', -1);
	INSERT INTO bgjob_internal.queue_conf VALUES ('default', 9223372036854775000, false, 2000000000, '-170000000 years'),
		('', 1, false, -2147483648, '170000000 years'), (repeat('q', 200), -1, true, 0, NULL);
	INSERT INTO bgjob_internal.server_conf VALUES ('odd', 9223372036854775807, false, ARRAY[NULL, 'bad name', repeat('q', 200), '*', 'ok', '*'], 2000000000),
		('default', -1, false, '{"bad name","*"}', -2147483648), ('', 1, true, '{}', 0), (repeat('s', 200), 0, false, '{*}', 1), ('Upper', 0, false, NULL, 0), ('none', 0, false, '{}', 1);
	INSERT INTO bgjob_internal.function_conf VALUES ('public.fails(integer)', repeat('q', 200), 32767, -1, '-1 s', '{', '?', '{{NULL}}', '[]', '5', '-1 year'),
		('', '', -32768, 2147483647, '170000000 years', '', '', '{}', '1', '[]', '1 us');
	INSERT INTO bgjob_internal.filter VALUES ('f', '?', 'f', 'g', 1, 'infinity', 0, true), ('g', 'performing', 'nothing', 'x', 1, 'infinity', 0, true);
~);
$node->psql('postgres', 'DELETE FROM bgjob_internal.filter');
$node->restart;
lives('edited tables');
$node->psql('postgres', q{SELECT bgjob_enqueue('fails')}); # whatever becomes of it
$node->safe_psql('postgres', 'DELETE FROM bgjob_internal.function_conf');
my ($id) = $node->safe_psql('postgres', q{SELECT count(bgjob_enqueue('fine')) FROM generate_series(1, 3000)});
wait_until($node, q{SELECT count(*) >= 3000 FROM bgjob.jobs WHERE state = 'succeeded'}, 'a group is never larger than there is room for');

# Commands of a DBA on these jobs: each job can be removed.
foreach my $call ('bgjob_requeue(id)', "bgjob_reschedule(id, now() + '1 hour')", 'bgjob_delete(id)')
{
	my @ids = split /\n/, $node->safe_psql('postgres', 'SELECT id FROM edited');
	$node->psql('postgres', join(' ', map { (my $c = $call) =~ s/id/$_/; "SELECT $c;" } @ids), on_error_stop => 0);
}
$node->psql('postgres', 'SELECT bgjob_adopt()');
lives('requeued, rescheduled and deleted');

# Recurring jobs.
$node->safe_psql('postgres', q{
	SELECT bgjob_recurring('r' || i, '@every_second', 'fine') FROM generate_series(1, 60) i;
});
my $i = 0;
foreach my $how ("schedule = ''", "schedule = 'x'", "schedule = repeat('*', 10000)", "time_zone = 'x'", "time_zone = ''", "misfire = '?'", "overlap = '?'", "kind = '?'",
	"on_duplicate = '?'", "queued = ARRAY[NULL, now()]", "queued = ARRAY[[now(), now()], [NULL, now()]]", "queued = '{infinity,-infinity}'", "queued = '{}'",
	"next_at = '-infinity'", "next_at = '4713-01-01 BC'", "next_at = 'infinity'", "next_at = '-infinity', ends_at = '-infinity', misfire = 'o'", "next_at = '4713-01-01 BC', misfire = 'o'",
	"jitter = '170000000 years'", "jitter = '-170000000 years'", 'run_as = 0', 'run_as = 4000000000', 'owner = 0', "func = ''", 'func = NULL', "job = ''", "job = '', func = NULL",
	"queue = repeat('q', 200)", "queue = ''", "parameters = '1'", "parameters = '[]'", 'settings_id = -1', 'policy_id = -3', 'last_job = -1', "max_retries = -1", "tags = '{{NULL}}'", "args = '1'", "custom_settings = '[1]'",
	"unique_key = '', on_duplicate = '?'", "timeout = '-1 s'", "last_at = 'infinity'", "created_at = 'infinity'", "starts_at = 'infinity'")
{
	$i++;
	my ($ret, $out, $err) = $node->psql('postgres', "UPDATE bgjob_internal.recurring SET $how WHERE name = 'r$i'");
	is($err, '', "recurring job: $how");
}
$node->safe_psql('postgres', q{SELECT bgjob_recurring('fine', '@every_second', 'fine')});
wait_until($node, q{SELECT count(*) >= 3 FROM bgjob.jobs WHERE recurring_name = 'fine' AND state = 'succeeded'}, "others' recurring jobs run");
$node->restart;
wait_until($node, q{SELECT count(*) >= 6 FROM bgjob.jobs WHERE recurring_name = 'fine' AND state = 'succeeded'}, 'after a restart too');
lives('edited recurring jobs');

my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal (6|11)|was terminated by signal/, 'nothing has crashed');
# Each failed attempt logs one error; an endless repetition would log many more.
my %errors;
$errors{$1}++ while $log =~ /(?:ERROR|FATAL|WARNING):  (?!division by zero)([^\n]*)/g;
my ($most) = sort { $errors{$b} <=> $errors{$a} } keys %errors;
cmp_ok($errors{$most}, '<', 300, "no error is repeated without end: $most");
$node->stop;
done_testing();
