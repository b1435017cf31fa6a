# Settings of a database: who may set them, where, and when they are in force; what is refused; broken values in the catalog. The
# manual's table of settings says the same as the server.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

my $node = bgjob_cluster('settings', fsync => 'off', 'bgjob.workers' => 4, 'bgjob.worker_idle_timeout' => '10min', 'bgjob.max_retries' => 0);
my $workers = 'SELECT workers FROM bgjob.servers';
my $err;

# sql QUERY [, DATABASE] returns the answer; refused QUERY, PATTERN, WHAT [, ROLE] tests the error.
sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }

sub refused
{
	my ($query, $pattern, $what, $role) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $error = '';

	$node->psql('postgres', "\\set VERBOSITY verbose\n$query", stderr => \$error, extra_params => [ '-U', $role // $node->safe_psql('postgres', 'SELECT current_user') ]);
	like($error, $pattern, $what);
}

# renewed QUERY… changes settings, reads them in all processes, and waits until a new scheduler serves database postgres.
sub renewed
{
	my ($query) = @_;
	my $before = sql(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});

	sql($query);
	$node->reload;
	return wait_until($node, qq{SELECT count(*) = 1 FROM pg_stat_activity, bgjob.servers
		WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres' AND pid <> $before AND heartbeat_at IS NOT NULL}, "a scheduler follows: $query");
}

# ran JOB waits for a job, and returns its state and its number of interruptions.
sub ran { return sql("SELECT bgjob_wait($_[0], '60 s'); SELECT interruptions FROM bgjob.jobs WHERE id = $_[0]") }

# 1. The manual's table: name, range and who may set it, as the server has them.
my ($section) = slurp_file("$FindBin::RealBin/../../doc/manual.md") =~ /^## Settings\n(.*?)^## /ms;
my $documented = '';
my %context = ('restart' => 'postmaster', 'reload' => 'sighup', 'database' => 'superuser', 'administrator' => 'superuser', 'everybody' => 'user');

while ($section =~ /^\| `(bgjob\.\w+)` \| [^|]* \| ([^|]*) \| (\w+) \|/mg)
{
	my ($name, $range, $level) = ($1, $2, $3);
	$documented .= join('|', $name, $range, $context{$level} // $level, $level eq 'database' ? 't' : 'f') . "\n";
}
is($documented, sql(q{
	SELECT string_agg(concat_ws('|', name, CASE WHEN vartype = 'bool' THEN 'on, off' WHEN vartype = 'string' THEN CASE name WHEN 'bgjob.time_zone' THEN 'name' ELSE 'list' END
			WHEN max_val IN ('2147483647', '2147483') THEN min_val || ' or more' ELSE min_val || ' to ' || max_val END, context, not_for_roles) || E'\n', '' ORDER BY name COLLATE "C")
	FROM pg_settings, LATERAL (SELECT CASE WHEN name IN ('bgjob.workers', 'bgjob.queues', 'bgjob.retention', 'bgjob.retention_failed', 'bgjob.worker_idle_timeout', 'bgjob.shutdown_timeout')
			THEN 't' ELSE 'f' END AS not_for_roles) n
	WHERE name LIKE 'bgjob.%'}), 'the manual has all settings, with range and level');

# 2. In force without a reload: within ten seconds.
sql(q{CREATE ROLE app LOGIN; CREATE ROLE owner LOGIN; GRANT USAGE ON SCHEMA bgjob TO app, owner; CREATE DATABASE owned OWNER owner;
	CREATE TABLE seen (what text, pid int DEFAULT pg_backend_pid()); GRANT ALL ON seen TO app});
my $job = sql(q{SET ROLE app; SELECT bgjob_enqueue('INSERT INTO seen VALUES (current_setting(''bgjob.workers''))', kind => 'sql')});
is(ran($job), "succeeded\n0", 'a job runs');
is(sql($workers), 4, 'the number of workers is that of the file');
sql(q{ALTER DATABASE postgres SET bgjob.workers = 2});
wait_until($node, "SELECT (SELECT setting FROM pg_settings WHERE name = 'bgjob.workers') = '2' AND ($workers) = 2", 'the number of workers is that of the database', 30);
$job = sql(q{SET ROLE app; SELECT bgjob_enqueue('INSERT INTO seen VALUES (current_setting(''bgjob.workers''))', kind => 'sql')});
is(ran($job), "succeeded\n0", 'a job runs after that');
is(sql('SELECT string_agg(what, $$ $$ ORDER BY what), count(DISTINCT pid) FROM seen'), '2 4|2', 'in a worker that has connected since');

# 3. A job that is running goes on, and is not interrupted.
$node->safe_psql('postgres', 'CREATE TABLE gate (); GRANT SELECT ON gate TO app');
my $gate = $node->background_psql('postgres');
$gate->query_safe('BEGIN; LOCK TABLE gate');
$job = sql(q{SET ROLE app; SELECT bgjob_enqueue('SELECT count(*) FROM gate', kind => 'sql')});
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $job", 'a job is running');
renewed(q{ALTER DATABASE postgres SET bgjob.workers = 3});
is(sql($workers), 3, 'the view has the new number while the job runs');
is(sql("SELECT state, interruptions FROM bgjob.jobs WHERE id = $job"), 'processing|0', 'the job runs on');
$gate->query_safe('COMMIT');
$gate->quit;
is(ran($job), "succeeded\n0", 'and ends');

# 4. Precedence: the file, ALTER ROLE ALL, ALTER DATABASE.
renewed(q{ALTER ROLE ALL SET bgjob.workers = 5; ALTER DATABASE postgres RESET bgjob.workers});
is(sql($workers), 5, 'ALTER ROLE ALL has precedence over the file');
renewed(q{ALTER DATABASE postgres SET bgjob.workers = 0});
is(sql($workers), 0, 'ALTER DATABASE has precedence over that');
$job = sql(q{SET ROLE app; SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
wait_until($node, "SELECT detail = 'bgjob.workers is 0.' FROM bgjob_why($job) LIMIT 1", 'bgjob_why() says why nothing runs');
renewed(q{ALTER ROLE ALL RESET bgjob.workers; ALTER DATABASE postgres RESET bgjob.workers});
is(sql($workers), 4, 'RESET goes back to the file');
is(ran($job), "succeeded\n0", 'the job runs');

# 5. Queues and retentions; a role's own settings, which only a superuser's UPDATE could bring into the catalog, do nothing.
renewed(q{ALTER DATABASE postgres SET bgjob.queues = first, second; ALTER DATABASE postgres SET bgjob.retention = '1 s';});
$job = sql(q{SET ROLE app; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'third')});
sql(q{INSERT INTO pg_db_role_setting SELECT 0, oid, '{bgjob.queues=third,bgjob.retention=0}' FROM pg_roles WHERE rolname = 'app'});
my $second = sql(q{SET ROLE app; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'second')});
wait_until($node, "SELECT count(*) = 0 FROM bgjob.jobs WHERE id = $second", 'a job of a queue in the list has run and was removed', 90);
is(sql("SELECT state FROM bgjob.jobs WHERE id = $job"), 'enqueued', 'a job of another queue waits');
renewed(q{DELETE FROM pg_db_role_setting WHERE setrole <> 0; ALTER DATABASE postgres RESET ALL});
is(ran($job), "succeeded\n0", 'it runs when its queue is in the list');

# 6. Broken values in the catalog. The server ignores them with a warning.
for my $broken ('{bgjob.workers=many}', '{bgjob.workers}', '{NULL,"",=,bgjob.=1,bgjob.queues=}', '{{bgjob.workers=6,bgjob.retention=x},{bgjob.queues=UP,bgjob.none=1}}', '{bgjob.workers=100000}')
{
	sql(q{INSERT INTO pg_db_role_setting SELECT oid, 0, NULL FROM pg_database WHERE datname = 'postgres'}) if sql('SELECT count(*) FROM pg_db_role_setting') == 0;
	sql("UPDATE pg_db_role_setting SET setconfig = '$broken'");
	$node->reload;
	$job = ask($node, q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', run_as => 'app')});
	is(ask($node, "SELECT bgjob_wait($job, '60 s')"), 'succeeded', "jobs run with $broken");
}
sql('DELETE FROM pg_db_role_setting');

# 7. What is refused.
refused('SET bgjob.workers = 3', qr/55P02.*for a role or a session.*HINT:.*ALTER DATABASE/s, 'SET');
refused(q{SELECT set_config('bgjob.retention', '0', true)}, qr/55P02/, 'set_config()');
refused('ALTER ROLE app SET bgjob.retention = 0', qr/55P02.*"bgjob.retention" cannot be set for a role/s, 'ALTER ROLE');
refused('ALTER ROLE app IN DATABASE postgres SET bgjob.queues FROM CURRENT', qr/55P02/, 'ALTER ROLE IN DATABASE');
refused('ALTER ROLE app RESET bgjob.queues', qr/^$/, 'RESET is allowed');
refused('ALTER DATABASE postgres SET bgjob.queues = first, "Mail"', qr/22023.*"Mail" cannot be the name of a queue.*HINT/s, 'a name that no queue can have');
refused('ALTER DATABASE postgres SET bgjob.workers = 100000', qr/22023.*0 \.\. 1000/s, 'too many workers');
refused("ALTER DATABASE postgres SET bgjob.time_zone = 'Nowhere/City'", qr/22023.*HINT/s, 'an unknown time zone, for a database');
refused("ALTER ROLE app SET bgjob.time_zone = 'Nowhere/City'", qr/22023/, 'and for a role');
refused("ALTER ROLE app SET bgjob.max_retries = -1", qr/22023/, 'a negative number of retries');
refused('ALTER DATABASE postgres SET bgjob.enabled = off', qr/55P02/, 'a setting of the whole cluster, for a database');
refused('ALTER DATABASE owned SET bgjob.workers = 1000', qr/42501/, 'the owner of a database needs the right to the setting', 'owner');
refused('ALTER ROLE owner SET bgjob.job_timeout = 0', qr/42501/, 'a role, too', 'owner');
{
	local $ENV{PGOPTIONS} = '-c bgjob.workers=3';
	$node->psql('postgres', 'SELECT 1', stderr => \$err);
	like($err, qr/FATAL:.*for a role or a session/, 'options of a connection');
}

# 8. The right can be granted. It reaches as far as ALTER DATABASE does: to one's own databases.
sql('GRANT SET ON PARAMETER bgjob.workers TO owner');
refused('ALTER DATABASE owned SET bgjob.workers = 7', qr/^$/, 'the owner of a database with the right to the setting', 'owner');
refused('ALTER DATABASE postgres SET bgjob.workers = 7', qr/42501/, 'not for databases of others', 'owner');
refused('SET bgjob.workers = 7', qr/55P02/, 'nor for a session', 'owner');
sql('CREATE EXTENSION bgjob', 'owned');
wait_until($node, "SELECT workers = 7 FROM bgjob.servers", 'a database has its number from the start', 60, 'owned');
is(sql($workers), 4, 'and no other database');

# 9. Recurring jobs have the zone of the time when they were made.
sql(q{ALTER DATABASE postgres SET bgjob.time_zone = 'Europe/Berlin'; ALTER DATABASE postgres SET bgjob.max_retries = 2});
sql(q{SELECT bgjob_recurring('zoned', '0 3 * * *', 'SELECT 1'), bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 day')});
sql(q{ALTER DATABASE postgres SET bgjob.time_zone = 'Asia/Tokyo'; ALTER DATABASE postgres RESET bgjob.max_retries});
sql(q{SELECT bgjob_recurring('zoned later', '0 3 * * *', 'SELECT 1')});
is(sql(q{SELECT string_agg(time_zone, ' ' ORDER BY name) FROM bgjob.recurring_jobs}), 'Europe/Berlin Asia/Tokyo', 'a recurring job keeps its time zone');
is(sql(q{SELECT max_retries FROM bgjob.jobs WHERE state = 'scheduled'}), 2, 'a job keeps its number of retries');

check_counters($node);
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)/, 'no process has crashed');
$node->stop;
done_testing();
