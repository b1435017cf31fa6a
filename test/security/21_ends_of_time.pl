# Intervals and times beyond the range of timestamps: an error when set; the scheduler, workers and views tolerate those
# already stored.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);

my $node = bgjob_cluster('ends_of_time');
$node->safe_psql('postgres', q{CREATE FUNCTION noop() RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION boom() RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'boom'; END$$;
	CREATE FUNCTION far(context jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT '{"state": "scheduled", "delay": "170000000 years"}'::jsonb$$});

sub sqlstate
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out;
}

# Out-of-range values fail at once, with the same error for each interval.
for my $interval ('300000 years', '178000000 years', '2147483647 days', '2562047788 hours', '2000000000 months -1 day', '-1 day', '-178000000 years')
{
	my @refused = (
		"bgjob_configure('noop', retention => '$interval')", "bgjob_configure('noop', timeout => '$interval')",
		"bgjob_configure('noop', retry_delays => ARRAY['1 s', '$interval']::interval[])", "bgjob_queue('q', retention => '$interval')",
		"bgjob_enqueue('noop', delay => '$interval')", "bgjob_enqueue('noop', timeout => '$interval')",
		"bgjob_enqueue_many('noop', ARRAY['[]']::jsonb[], delay => '$interval')", "bgjob_reschedule(1, delay => '$interval')",
		"bgjob_recurring('r', '\@daily', 'noop', jitter => '$interval')", "bgjob_recurring('r', '\@daily', 'noop', timeout => '$interval')");

	is(join(' ', map { sqlstate("SELECT $_;") } @refused), join(' ', ('22023') x @refused), "an interval of $interval is refused");
}
is(sqlstate(q{SELECT bgjob_purge('failed', '178000000 years')}), '0', 'no job is older than time');
is(sqlstate(q{SELECT bgjob_purge('failed', '-178000000 years')}), '22023', 'a negative age is refused');
is(sqlstate(qq{SELECT bgjob_recurring('r', '\@daily', 'noop', $_)}), '22023', "$_ is refused") for q{starts_at => 'infinity'}, q{ends_at => '-infinity'};
is(sqlstate(qq{SELECT bgjob_enqueue('noop', run_at => '$_')}), '22023', "run_at $_ is refused") for qw(infinity -infinity);
for my $after ('294276-12-31 23:59:59.999999', 'infinity', '-infinity', '4713-01-01 BC')
{
	like(sqlstate(qq{SELECT coalesce(bgjob_cron_next('$_', '$after', 'Europe/Berlin')::text, 'never')}), qr/^(?:22023|never|4713.*BC|4712.*BC)$/, "$_ after $after")
		for '* * * * *', '@yearly', '31536000 seconds', '0 0 29 2 *';
}

# The longest interval works everywhere.
my $long = '90000 years';
$node->safe_psql('postgres', qq{SELECT bgjob_configure('noop', retention => '$long', timeout => '$long', retry_delays => ARRAY['$long', '1 s']::interval[]);
	SELECT bgjob_configure('boom', retry_delays => ARRAY['$long']::interval[]);
	SELECT bgjob_queue('long', retention => '$long')});
my $job = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('noop')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($job, '10000000 years')"), 'succeeded', 'a wait beyond the end of time, and a time limit of 90,000 years');
is($node->safe_psql('postgres', "SELECT extract(year FROM expires_at) > 90000 FROM bgjob.jobs WHERE id = $job"), 't', 'it expires in 90,000 years');
my $boom = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('boom')});
wait_until($node, "SELECT state = 'scheduled' AND extract(year FROM run_at) > 80000 FROM bgjob.jobs WHERE id = $boom", 'a retry in 90,000 years is waited for', 20);
my $snooze = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT bgjob_snooze(''178000000 years'')', kind => 'sql', max_retries => 0)});
is($node->safe_psql('postgres', "SELECT bgjob_wait($snooze, '20 s')"), 'failed', 'a job cannot snooze beyond the end of time');
is($node->safe_psql('postgres', "SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = $snooze"), '22023', 'a snooze beyond the end of time raises 22023');

# A job that snoozes for '0' does not fill its history.
my $restless = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT bgjob_snooze(''0'')', kind => 'sql')});
wait_until($node, "SELECT count(*) > 1 FROM bgjob.job_states WHERE job_id = $restless", 'a job that snoozes for no time snoozes', 20);
is($node->safe_psql('postgres', "SELECT bool_and((data ->> 'run_at')::timestamptz >= at + '0.9 s') FROM bgjob.job_states WHERE job_id = $restless AND state = 'scheduled'"), 't',
	'each snooze lasts a second at least');
wait_until($node, "SELECT bgjob_delete($restless)", 'and it is deleted', 20);

# Values stored by an older version or a restore stop nothing.
my $scheduler = pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'});
my $old = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($old, '20 s')"), 'succeeded', 'a job before its row is tampered with');
$node->safe_psql('postgres', qq{
	UPDATE bgjob_internal.job SET retention = '178000000 years' WHERE id = $old;
	UPDATE bgjob_internal.job SET retention = '1 month -2147483000 days' WHERE id = $job;
	UPDATE bgjob_internal.queue_conf SET retention = '178000000 years -2562047788 hours';
	UPDATE bgjob_internal.function_conf SET retention = '-178000000 years', timeout = '178000000 years',
		policy = jsonb_set(coalesce(policy, '{}'), '{retry_delays}', '[1e300, 1e400]');
	SELECT bgjob_queue('short', retention => '1 second')});
wait_until($node, "SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE id = $job)", 'the sweep goes on, and removes what has expired', 20);
my $short = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'short')});
wait_until($node, "SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE id = $short)", 'later jobs expire as usual', 20);
is($node->safe_psql('postgres', "SELECT expires_at IS NULL FROM bgjob.jobs WHERE id = $old"), 't', 'what expires beyond the end of time never does');
is($node->safe_psql('postgres', 'SELECT count(*) > 0 FROM bgjob.functions WHERE retry_delays IS NOT NULL'), 't', 'delays beyond the end of time are shown');
my $late = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('boom')});
wait_until($node, "SELECT state = 'scheduled' FROM bgjob.jobs WHERE id = $late", 'a later job waits for its retry', 20);
my $limit = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('noop')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($limit, '20 s')"), 'succeeded', 'a time limit beyond the end of time is none');
$node->safe_psql('postgres', q{SELECT bgjob_recurring('often', '@every_second', 'SELECT 1', kind => 'sql', jitter => '1 s')});
$node->safe_psql('postgres', q{UPDATE bgjob_internal.recurring SET jitter = '178000000 years -1 hour'});
wait_until($node, q{SELECT last_job_id IS NOT NULL FROM bgjob.recurring_jobs}, 'a jitter beyond the end of time stops nothing', 20);
$node->safe_psql('postgres', q{SELECT bgjob_recurring_remove('often')});
is(pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}), $scheduler, 'the scheduler is the same process all the time');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)/, 'nothing has crashed');
check_counters($node);
done_testing();
