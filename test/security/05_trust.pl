# bgjob serves, reads and trusts only relations that extension bgjob owns. Other objects that it finds by name must
# belong to their extension, too.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('trust', log_statement => 'none');

# ---- a forged schema, in a database without the extension ----

$node->safe_psql('postgres', 'CREATE ROLE attacker LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE owned OWNER attacker');
# The attacker creates the tables as pg_dump prints them.
my $ddl = $node->safe_psql('postgres', q{
	SELECT 'CREATE TABLE bgjob_internal.' || relname || ' (' || string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod)
			|| CASE WHEN attcollation = 950 THEN ' COLLATE "C"' ELSE '' END || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
			|| coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), ''), ', ' ORDER BY attnum) || ');'
	FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
	WHERE relnamespace = 'bgjob_internal'::regnamespace AND relkind = 'r' GROUP BY relname})
	. "\n" . $node->safe_psql('postgres', q{
	SELECT pg_get_indexdef(indexrelid) || ';' FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE relnamespace = 'bgjob_internal'::regnamespace});
$node->safe_psql('owned', qq{
	CREATE SCHEMA bgjob; CREATE SCHEMA bgjob_internal; CREATE SEQUENCE bgjob_internal.job_id_seq; CREATE SEQUENCE bgjob_internal.settings_id_seq AS integer;
	$ddl
	INSERT INTO bgjob_internal.job (id, created_at, run_as, kind, job) VALUES (1, now(), 10::oid::regrole, 's', 'ALTER ROLE attacker SUPERUSER');
	INSERT INTO bgjob_internal.queue (lane, pos, role, job_tid) VALUES (hashtextextended('default', 0), 1, 10::oid::regrole, '(0,1)');
	INSERT INTO bgjob_internal.installation SELECT oid FROM pg_database WHERE datname = current_database()},
	connstr => $node->connstr('owned') . ' user=attacker');
# Each start of the server checks all databases; so does a rename.
$node->restart;
$node->safe_psql('postgres', 'ALTER DATABASE owned RENAME TO forged');
$node->safe_psql('postgres', 'CREATE DATABASE real');
$node->safe_psql('real', 'CREATE EXTENSION bgjob');
wait_until($node, q{SELECT bgjob_wait(bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 ms'), '20 s') IS NULL OR true}, 'a genuine database is served', 30, 'real');
wait_until($node, q{SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'the forged one has no scheduler');
is($node->safe_psql('postgres', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'attacker'}), 'f', 'the attacker is no superuser');
is($node->safe_psql('forged', 'SELECT state FROM bgjob_internal.job'), 'e', 'the forged job is unchanged');

# ---- an extension whose relations have been changed ----

$node->safe_psql('real', q{
	CREATE ROLE dbo LOGIN;
	CREATE FUNCTION bad(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE WARNING 'called'; RETURN $1; END $$});
for my $change (
	[ 'another owner',            'ALTER TABLE bgjob_internal.queue OWNER TO dbo',                         'ALTER TABLE bgjob_internal.queue OWNER TO postgres',          qr/Its owner/ ],
	[ 'not a member',             'ALTER EXTENSION bgjob DROP TABLE bgjob_internal.job',                   'ALTER EXTENSION bgjob ADD TABLE bgjob_internal.job',          qr/not a member/ ],
	[ 'a sequence not a member',  'ALTER EXTENSION bgjob DROP SEQUENCE bgjob_internal.job_id_seq',         'ALTER EXTENSION bgjob ADD SEQUENCE bgjob_internal.job_id_seq', qr/not a member/ ],
	[ 'another type',             'ALTER TABLE bgjob_internal.unique_key ALTER job TYPE int',                'ALTER TABLE bgjob_internal.unique_key ALTER job TYPE bigint',   qr/another type/ ],
	[ 'row-level security',       'ALTER TABLE bgjob_internal.job ENABLE ROW LEVEL SECURITY',              'ALTER TABLE bgjob_internal.job DISABLE ROW LEVEL SECURITY',   qr/row-level security/ ],
	[ 'an index on an expression', 'ALTER TABLE bgjob_internal.failure DROP CONSTRAINT failure_pkey; CREATE UNIQUE INDEX failure_pkey ON bgjob_internal.failure (bad(job))',
		'DROP INDEX bgjob_internal.failure_pkey; ALTER TABLE bgjob_internal.failure ADD CONSTRAINT failure_pkey PRIMARY KEY (job)', qr/Its keys|index on an expression/ ],
	[ 'an index on other columns', 'ALTER TABLE bgjob_internal.queue DROP CONSTRAINT queue_pkey; CREATE UNIQUE INDEX queue_pkey ON bgjob_internal.queue (pos)',
		'DROP INDEX bgjob_internal.queue_pkey; ALTER TABLE bgjob_internal.queue ADD CONSTRAINT queue_pkey PRIMARY KEY (role, lane, pos)', qr/Its keys/ ],
	[ 'an index that descends', 'ALTER TABLE bgjob_internal.queue DROP CONSTRAINT queue_pkey; CREATE UNIQUE INDEX queue_pkey ON bgjob_internal.queue (role, lane, pos DESC)',
		'DROP INDEX bgjob_internal.queue_pkey; ALTER TABLE bgjob_internal.queue ADD CONSTRAINT queue_pkey PRIMARY KEY (role, lane, pos)', qr/Its keys/ ],
	[ 'one more index, on an expression', 'CREATE INDEX more ON bgjob_internal.job (bad(id))', 'DROP INDEX bgjob_internal.more', qr/index on an expression/ ],
	[ 'a check',                  'ALTER TABLE bgjob_internal.job ADD CONSTRAINT c CHECK (bad(id) > 0)',   'ALTER TABLE bgjob_internal.job DROP CONSTRAINT c',            qr/checks/ ],
	[ 'a rule',                   'CREATE RULE r AS ON DELETE TO bgjob_internal.log DO ALSO NOTHING',      'DROP RULE r ON bgjob_internal.log',                           qr/rules/ ],
	[ 'a child',                  'CREATE TABLE child () INHERITS (bgjob_internal.total)',                 'DROP TABLE child',                                   qr/children/ ],
	[ 'a view',                   'ALTER TABLE bgjob_internal.failure RENAME TO was; CREATE VIEW bgjob_internal.failure AS SELECT * FROM bgjob_internal.was',
		'DROP VIEW bgjob_internal.failure; ALTER TABLE bgjob_internal.was RENAME TO failure', qr/not a member|another kind/ ],
	[ 'a schema renamed',         'ALTER SCHEMA bgjob_internal RENAME TO was',                             'ALTER SCHEMA was RENAME TO bgjob_internal',          qr/schema "bgjob_internal": It does not exist/ ],
	[ 'a schema in its place',    'ALTER SCHEMA bgjob_internal RENAME TO was; CREATE SCHEMA bgjob_internal AUTHORIZATION dbo; CREATE TABLE bgjob_internal.job (LIKE was.job INCLUDING ALL)',
		'DROP SCHEMA bgjob_internal CASCADE; ALTER SCHEMA was RENAME TO bgjob_internal', qr/not a member/ ])
{
	my ($what, $do, $undo, $why) = @$change;
	my $offset = -s $node->logfile;

	$node->safe_psql('real', $do);
	# The processes notice the change in any state.
	$node->psql('real', q{SELECT bgjob_enqueue('SELECT 1/0', kind => 'sql', max_retries => 0)});
	$node->psql('real', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = current_database()});
	wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'real' AND backend_type LIKE 'bgjob%'}, "$what: nothing is served");
	my $until = time + 30;
	select undef, undef, undef, 0.05 until slurp_file($node->logfile, $offset) =~ /is not served.*$why/s || time > $until;
	like(slurp_file($node->logfile, $offset), qr/is not served.*$why/s, "$what: the log says why");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'real' AND backend_type LIKE 'bgjob worker%'}), 0, "$what: no worker is left");
	$node->safe_psql('real', $undo);
	$node->safe_psql('real', 'SELECT bgjob_adopt()');
	is($node->safe_psql('real', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql') AS id \gset}
			. "\n" . q{SELECT bgjob_wait(:id, '30 s')}), 'succeeded', "$what: the database is served again after the change was undone");
}
unlike(slurp_file($node->logfile), qr/] WARNING:  called/, 'the processes of bgjob have called no function of a role');

my ($status, $out, $err) = $node->psql('real', 'CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER t AFTER INSERT ON bgjob_internal.job FOR EACH ROW EXECUTE FUNCTION t()');
like($err, qr/cannot create a trigger on "job"/, 'triggers on its tables, which pg_repack relies on, are refused');

# ---- DROP DATABASE works although the extension does not fit ----

$node->safe_psql('real', 'ALTER TABLE bgjob_internal.job ADD COLUMN x int');
$node->psql('real', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')});
my $began = time;
$node->safe_psql('postgres', 'DROP DATABASE real');
cmp_ok(time - $began, '<', 15, 'DROP DATABASE of one that does not fit');

# ---- names of things, and pg_cron ----

$node->safe_psql('postgres', q{
	CREATE ROLE lord LOGIN; GRANT CREATE ON DATABASE postgres TO lord; GRANT USAGE ON SCHEMA bgjob TO lord;
	SET SESSION AUTHORIZATION lord;
	CREATE SCHEMA cron;
	GRANT USAGE ON SCHEMA cron TO PUBLIC;
	CREATE FUNCTION cron.evil() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil'; RETURN true; END $$;
	CREATE VIEW cron.job AS SELECT 1::bigint AS jobid, 'x'::text AS jobname, '@every_second'::text AS schedule, 'ALTER ROLE lord SUPERUSER'::text AS command,
		'localhost'::text AS nodename, 5432 AS nodeport, current_database()::text AS database, 'postgres'::text AS username, cron.evil() AS active;
	GRANT SELECT ON cron.job TO PUBLIC});
($status, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose
SELECT bgjob_import_pg_cron()');
like($err, qr/42P01/, 'a forged cron.job is none');
unlike($err, qr/evil/, 'a forged cron.job is not read');
$node->safe_psql('postgres', q{
	SET SESSION AUTHORIZATION lord;
	DROP VIEW cron.job; CREATE TABLE cron.job (jobid bigint, jobname text, schedule text, command text, nodename text, nodeport int, database text, username text, active boolean);
	INSERT INTO cron.job DEFAULT VALUES;});
($status, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose
SELECT bgjob_import_pg_cron()', connstr => $node->connstr('postgres') . ' user=lord');
like($err, qr/42P01/, 'a forged table is refused');

# Renaming anything but a database starts nothing.
$node->safe_psql('postgres', q{
	CREATE TEMP TABLE t (a int);
	DO $$ BEGIN FOR i IN 1 .. 200 LOOP ALTER TABLE t RENAME a TO b; ALTER TABLE t RENAME b TO a; END LOOP; END $$});
ok($node->safe_psql('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}) eq 't', 'renaming columns starts no schedulers');
is($node->safe_psql('postgres', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'lord'}), 'f', 'no role has become a superuser');

check_counters($node);
$node->stop;
done_testing();
