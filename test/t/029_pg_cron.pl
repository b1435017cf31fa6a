# bgjob_import_pg_cron() imports the jobs of pg_cron: schedule, command, database, user, active flag and time zone.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('pgcron', shared_preload_libraries => 'pg_cron, bgjob', 'cron.timezone' => 'Europe/Berlin',
	'cron.launch_active_jobs' => 'off');
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_cron;
	CREATE DATABASE elsewhere;
	CREATE ROLE app LOGIN;
	CREATE ROLE nologin LOGIN;
	GRANT USAGE ON SCHEMA bgjob, cron TO app, nologin;
	CREATE TABLE ran (who text, what text);
	GRANT INSERT ON ran TO app;
	SELECT cron.schedule('nightly', '30 2 * * *', 'VACUUM ran');
	SELECT cron.schedule('often', '*/5 * * * *', $$INSERT INTO ran VALUES (current_user, 'often')$$);
	SELECT cron.schedule('0 0 1 * *', 'SELECT 1');
	SELECT cron.schedule('paused', '* * * * *', 'SELECT 2');
	UPDATE cron.job SET active = false WHERE jobname = 'paused';
	SELECT cron.schedule_in_database('there', '* * * * *', 'SELECT 3', 'elsewhere');
	SELECT cron.schedule_in_database('apps', '*/5 * * * *', $$INSERT INTO ran VALUES (current_user, 'apps')$$, 'postgres', 'app');
	SELECT cron.schedule_in_database('locked out', '*/5 * * * *', 'SELECT 4', 'postgres', 'nologin');
	ALTER ROLE nologin NOLOGIN;
	SELECT cron.schedule('two', '* * * * *', 'SELECT 5; SELECT 6');
	SELECT cron.schedule('hourly', '0 * * * *', 'SELECT 7');
	UPDATE cron.job SET schedule = '*/60 * * * *' WHERE jobname = 'hourly'; -- what newer versions of pg_cron refuse, but keep
});

my @left = split /\n/, $node->safe_psql('postgres', 'SELECT bgjob_import_pg_cron() ORDER BY 1');
is(scalar @left, 4, 'four could not be taken over') or diag(join "\n", @left);
like($left[0], qr/^job \d+ \(there\): it is for database "elsewhere"$/, 'a job of another database is reported');
like($left[1], qr/^job \d+ \(locked out\): role "nologin" is not permitted to log in$/, 'a job of a role without LOGIN is reported');
like($left[2], qr/^job \d+ \(two\): /, 'a job with two commands is reported');
like($left[3], qr{^job \d+ \(hourly\): its schedule "\*/60 \* \* \* \*" is refused: The step in "\*/60" is out of range, which is 1 to 59\. .*every hour is "0 \* \* \* \*"},
	'a step beyond the field is reported, with a correction');
is($node->safe_psql('postgres', q{
	SELECT name || '|' || owner || '|' || schedule || '|' || time_zone || '|' || job || '|' || active || '|' || (next_run_at IS NOT NULL)
	FROM bgjob.recurring_jobs ORDER BY name COLLATE "C"}),
	join("\n",
		q{apps|app|*/5 * * * *|Europe/Berlin|INSERT INTO ran VALUES (current_user, 'apps')|true|true},
		q{nightly|postgres|30 2 * * *|Europe/Berlin|VACUUM ran|true|true},
		q{often|postgres|*/5 * * * *|Europe/Berlin|INSERT INTO ran VALUES (current_user, 'often')|true|true},
		q{paused|postgres|* * * * *|Europe/Berlin|SELECT 2|false|false},
		q{pg_cron 3|postgres|0 0 1 * *|Europe/Berlin|SELECT 1|true|true}),
	'the other jobs are recurring jobs of the same users');
$node->safe_psql('postgres', q{SELECT bgjob_recurring_trigger('often'), bgjob_recurring_trigger('apps')});
wait_until($node, q{SELECT count(*) >= 1 FROM ran WHERE who = 'postgres' AND what = 'often'}, 'the recurring jobs run');
wait_until($node, q{SELECT count(*) >= 1 FROM ran WHERE who = 'app' AND what = 'apps'}, 'the imported jobs run as their users');
is($node->safe_psql('postgres', q{SELECT bool_and(run_as::text = 'app') FROM bgjob.jobs WHERE recurring_name = 'apps'}), 't', 'the jobs belong to their users');

is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob_import_pg_cron()}), '4', 'a second import');
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.recurring_jobs}), '5', 'adds no duplicates');

my ($status, $out, $err) = $node->psql('postgres', 'SET ROLE app; SELECT bgjob_import_pg_cron()');
is($status, 0, 'a role imports the rows that pg_cron shows it');
$node->safe_psql('elsewhere', 'CREATE EXTENSION bgjob');
($status, $out, $err) = $node->psql('elsewhere', 'SELECT bgjob_import_pg_cron()');
like($err, qr/pg_cron is not installed in this database/, 'without pg_cron the import raises an error');
check_counters($node);
$node->stop;
done_testing();
