# Resources that an ordinary role could exhaust: time zones that a process caches, ids of stored settings.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);

my $node = bgjob_cluster('run_out', 'bgjob.workers' => 2);
$node->safe_psql('postgres', q{CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA bgjob TO app});

sub reply
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSET SESSION AUTHORIZATION app;\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out;
}

# ---- time zones ----

for my $zone ('A00001+1', 'CET-1CEST', '<+05>-5', 'Mars/Phobos', '', ':UTC', 'EST5EDT4,M3.2.0,M11.1.0', '../../etc/passwd')
{
	is(reply(qq{SELECT bgjob_recurring('z', '\@daily', 'SELECT 1', kind => 'sql', time_zone => '$zone')}), '22023', "a recurring job cannot have the time zone '$zone'");
	is(reply(qq{SET bgjob.time_zone = '$zone'}), '22023', "bgjob.time_zone cannot be $zone");
}
# Newer Debian releases have the old names in a separate package.
my @old = grep { $node->safe_psql('postgres', "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = '$_')") eq 't' } 'EST5EDT';
for my $zone ('Europe/Berlin', 'eUrope/bErLiN', 'UTC', 'utc', 'GMT', @old, 'America/Argentina/Buenos_Aires')
{
	is(reply(qq{SET bgjob.time_zone = '$zone'; SELECT bgjob_recurring('z', '\@daily', 'SELECT 1', kind => 'sql', time_zone => '$zone')}), '', "'$zone' is one that it can have");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_timezone_names z, LATERAL bgjob_recurring('z', '@daily', 'SELECT 1', kind => 'sql', time_zone => z.name)
	WHERE z.name LIKE '%T%' AND z.name NOT LIKE 'posix%'}) > 50 ? 'all' : 'few', 'all', 'all named zones of the server can be used');
my ($status, $out, $err) = $node->psql('postgres', q{ALTER SYSTEM SET bgjob.time_zone = 'Mars/Phobos'}, on_error_stop => 0);
like($err, qr/invalid value for parameter "bgjob.time_zone": "Mars\/Phobos"/, 'ALTER SYSTEM refuses a zone that does not exist');
is(reply(q{SELECT bgjob_cron_next('0 9 * * *', '2024-07-01', 'CET-1CEST') = '2024-07-01 07:00+00'}), 't', 'in the own session a specification has a meaning, as with SET TimeZone');

# A worker whose memory has grown by leftovers of jobs is replaced.
my $grow = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue($q$DO $d$BEGIN
	FOR i IN 1..12000 LOOP PERFORM set_config('TimeZone', 'AAA' || chr(65 + i / 676) || chr(65 + i / 26 % 26) || chr(65 + i % 26) || '+1', false); END LOOP; END$d$$q$, kind => 'sql')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($grow, '60 s')"), 'succeeded', 'a job fills its worker with zones');
my $pid = $node->safe_psql('postgres', "SELECT worker_pid FROM bgjob.jobs WHERE id = $grow");
$node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT count(bgjob_enqueue('SELECT 1', kind => 'sql')) FROM generate_series(1, 2000)});
wait_until($node, "SELECT NOT EXISTS (SELECT FROM bgjob.workers WHERE pid = $pid)", 'it leaves before it has performed many more', 30);
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state <> 'succeeded')}, 'other workers perform the other jobs', 30);

# ---- ids of stored settings ----

$node->safe_psql('postgres', q{SELECT setval('bgjob_internal.settings_id_seq', 2147483647)});
my $call = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SET search_path = public, something_new;
	SELECT bgjob_enqueue('SELECT current_setting(''search_path'') AS p', kind => 'sql')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($call, '20 s')"), 'succeeded', 'numbers of settings do not end with the integers');
is($node->safe_psql('postgres', "SELECT result #>> '{0,p}' || ' ' || (settings ->> 'search_path') FROM bgjob.jobs WHERE id = $call"),
	'public, something_new public, something_new', 'the job runs with its settings, and bgjob.jobs shows them');
$node->safe_psql('postgres', q{CREATE FUNCTION public.late() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'x'; END$$; GRANT CREATE ON SCHEMA public TO app;
	SELECT bgjob_configure('late', retry_delays => ARRAY['50 ms', '60 ms']::interval[])});
my $late = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('late', max_retries => 2)});
is($node->safe_psql('postgres', "SELECT bgjob_wait($late, '20 s')"), 'failed', 'a job whose function and policy have new rows fails after its retries');
is($node->safe_psql('postgres', "SELECT job || retries FROM bgjob.jobs WHERE id = $late"), 'late2', 'it has the retries of its policy');
is($node->safe_psql('postgres', q{SELECT count(*) > 2 FROM bgjob_internal.settings WHERE id > 2147483647}), 't', 'the settings have ids beyond the integers');
$node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SET search_path = public, other;
	SELECT bgjob_recurring('large', '@every_second', 'late', max_retries => 0)});
wait_until($node, q{SELECT last_state = 'failed' FROM bgjob.recurring_jobs WHERE name = 'large'}, 'recurring jobs likewise', 20);
$node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT bgjob_recurring_remove('large')});

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)/, 'nothing has crashed');
check_counters($node);
$node->stop;
done_testing();
