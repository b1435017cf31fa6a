# Features of newer servers only: finer memberships (16), transaction_timeout, MAINTAIN, triggers at login and incremental
# backups (17), virtual generated columns (18). On older servers only the other cases run.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils qw(slurp_file command_ok);
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('versions', allows_streaming => 1, 'bgjob.workers' => 4);
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN;
	CREATE ROLE boss LOGIN;
	CREATE ROLE maker LOGIN CREATEROLE;
	GRANT USAGE ON SCHEMA bgjob TO app, boss, maker;
	CREATE TABLE did (what text);
	GRANT ALL ON did TO PUBLIC;
	CREATE FUNCTION note(what text) RETURNS text LANGUAGE sql AS 'INSERT INTO did VALUES (what); SELECT session_user::text';
	CREATE FUNCTION self(x jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT x'});

# as ROLE, SQL: the last line of the answer, or the SQLSTATE of the error.
sub as
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSET SESSION AUTHORIZATION $role; $sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : (split /\n/, $out)[-1] // '';
}

sub ends_as
{
	my ($id, $state, $what) = @_;

	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), $state, $what);
}

# hold a queue back, and let it go
sub hold { $node->safe_psql('postgres', q{SELECT bgjob_queue('held', paused => true)}) }
sub let_go { $node->safe_psql('postgres', q{SELECT bgjob_queue_resume('held')}) }

# ---- memberships: SET and INHERIT are two rights (16), and CREATEROLE gives neither ----

# Each: what is granted, and whether "app" then has jobs run as "boss", and controls them.
my @grants = $version >= 160000
	? ([ 'WITH SET TRUE, INHERIT TRUE', 1, 1 ], [ 'WITH SET TRUE, INHERIT FALSE', 1, 0 ], [ 'WITH SET FALSE, INHERIT TRUE', 0, 1 ],
	   [ 'WITH SET FALSE, INHERIT FALSE', 0, 0 ], [ 'WITH ADMIN TRUE, SET FALSE, INHERIT FALSE', 0, 0 ])
	: ([ '', 1, 1 ], [ 'WITH ADMIN OPTION', 1, 1 ]);
my $run_as = q{SELECT bgjob_enqueue('note', '["as boss"]', run_as => 'boss', queue => 'held', max_retries => 0)};

for my $case (@grants)
{
	my ($with, $set, $inherit) = @$case;

	hold();
	$node->safe_psql('postgres', 'GRANT boss TO app');
	my $before = as('app', $run_as);
	$node->safe_psql('postgres', "REVOKE boss FROM app; GRANT boss TO app $with");
	my $after = as('app', $run_as);
	my $own = as('boss', q{SELECT bgjob_enqueue('note', '["own"]', queue => 'held')});
	like($after, $set ? qr/^\d+$/ : qr/^42501$/, "$with: run_as");
	is(as('app', "SELECT bgjob_reschedule($own, delay => '1 h')"), $inherit ? 't' : '42501', "$with: control");
	is(as('app', qq{SELECT bgjob_recurring('r', '\@yearly', 'note', '["r"]', run_as => 'boss')}), $set ? '' : '42501', "$with: recurring");
	let_go();
	ends_as($before, $set ? 'succeeded' : 'failed', "$with: a job from before");
	ends_as($after, 'succeeded', "$with: a job from now") if $set;
	is($node->safe_psql('postgres', "SELECT result #>> '{}' FROM bgjob.jobs WHERE id = $before"), 'boss', "$with: the job ran as that role") if $set;
	$node->safe_psql('postgres', "REVOKE boss FROM app; DELETE FROM did; SELECT bgjob_delete($own)");
}

is(as('maker', 'CREATE ROLE made LOGIN; GRANT USAGE ON SCHEMA bgjob TO made; SELECT 1') , '1', 'a role with CREATEROLE makes one');
is(as('maker', q{SELECT bgjob_enqueue('note', '["x"]', run_as => 'made')}), '42501', 'the role that has made it is not its member');

# Two ways at once: taking one of them away leaves the other.
if ($version >= 160000)
{
	$node->safe_psql('postgres', 'CREATE ROLE middle; GRANT boss TO app WITH SET FALSE; GRANT boss TO middle; GRANT middle TO app');
	ends_as(as('app', q{SELECT bgjob_enqueue('note', '["way"]', run_as => 'boss')}), 'succeeded', 'a second way to a role counts');
	$node->safe_psql('postgres', 'REVOKE middle FROM app; GRANT middle TO app WITH SET FALSE');
	is(as('app', q{SELECT bgjob_enqueue('note', '["way"]', run_as => 'boss')}), '42501', 'run_as over a membership without SET raises 42501');
}

# ---- time-outs that end processes ----

if ($version >= 170000)
{
	local $ENV{PGOPTIONS} = '-c transaction_timeout=0'; # for the sessions of this test

	$node->safe_psql('postgres', q{ALTER ROLE app SET transaction_timeout = '200ms'; ALTER DATABASE postgres SET transaction_timeout = '300ms'});
	ends_as(as('app', q{SELECT bgjob_enqueue('SELECT pg_sleep(0.6)', kind => 'sql')}), 'succeeded', 'transaction_timeout of a role or database does not end its workers');
	my $self = as('app', q{SELECT bgjob_enqueue($$DO $d$BEGIN PERFORM set_config('transaction_timeout', '50ms', false); PERFORM pg_sleep(60); END$d$ $$, kind => 'sql')});
	$node->safe_psql('postgres', q{ALTER ROLE app RESET ALL; ALTER DATABASE postgres RESET ALL});
	ends_as($self, 'failed', 'a job that sets it for itself ends its worker so often, and no more');
	ends_as(as('app', q{SELECT bgjob_enqueue($$DO $d$BEGIN PERFORM set_config('transaction_timeout', '400ms', false); END$d$ $$, kind => 'sql')}), 'succeeded', 'a job that ends before its transaction_timeout succeeds');
	ends_as(as('app', q{SELECT bgjob_enqueue('SELECT pg_sleep(0.6)', kind => 'sql')}), 'succeeded', 'the next job has no transaction_timeout');
}

# ---- who may maintain all tables, may maintain these ----

if ($version >= 170000)
{
	$node->safe_psql('postgres', 'CREATE ROLE keeper LOGIN; GRANT pg_maintain TO keeper; GRANT USAGE ON SCHEMA bgjob TO keeper');
	hold();
	my $waits = as('app', q{SELECT max(bgjob_enqueue('note', jsonb_build_array('kept ' || i), queue => 'held')) FROM generate_series(1, 50) i});
	for my $table (qw(job queue schedule state settings))
	{
		is(as('keeper', "VACUUM FULL bgjob_internal.$table; SELECT 'done'"), 'done', "VACUUM FULL of $table by pg_maintain");
		is(as('keeper', "REINDEX TABLE bgjob_internal.$table; SELECT 'done'"), 'done', "REINDEX of $table by pg_maintain");
	}
	is(as('keeper', 'SELECT count(*) FROM bgjob_internal.job'), '42501', 'pg_maintain cannot read the tables');
	let_go();
	ends_as($waits, 'succeeded', 'the waiting job is performed afterwards');
	wait_until($node, q{SELECT count(*) = 50 FROM did WHERE what LIKE 'kept%'}, 'all fifty waiting jobs have run once');
	my $id = as('keeper', q{SELECT bgjob_enqueue('VACUUM (ANALYZE) did', kind => 'sql')});
	ends_as($id, 'succeeded', 'a job of it maintains the table of another');
}

# ---- code at login is for sessions of clients ----

if ($version >= 170000)
{
	$node->safe_psql('postgres', q{
		CREATE FUNCTION at_login() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN
			IF session_user = 'boss' THEN RAISE EXCEPTION 'no'; END IF; END$$;
		CREATE EVENT TRIGGER login ON login EXECUTE FUNCTION at_login()});
	my $id = $node->safe_psql('postgres', q{GRANT boss TO app WITH SET TRUE; SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('note', '["login"]', run_as => 'boss')});
	ends_as($id, 'succeeded', 'a trigger at login does not keep workers out');
	$node->safe_psql('postgres', 'DROP EVENT TRIGGER login');
}

# ---- generated columns ----

my @rows = ('{"s": 14, "id": 7}', '{"s": 14}', '{"s": 14, "id": 7}');
$node->safe_psql('postgres', q{CREATE TABLE made (id int NOT NULL, gone int, s int GENERATED ALWAYS AS (id * 2) STORED); ALTER TABLE made DROP gone});
if ($version >= 180000)
{
	@rows = ('{"s": 14, "v": "7 öß", "id": 7}', '{"v": "7 öß"}', '{"s": 14, "v": "7 öß", "id": 7}');
	$node->safe_psql('postgres', q{ALTER TABLE made ADD v text GENERATED ALWAYS AS (id || ' öß') VIRTUAL});
}
my $column = $version >= 180000 ? 'v' : 's';
$node->safe_psql('postgres', qq{
	CREATE TRIGGER row_i AFTER INSERT ON made FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('self', 'queue=a');
	CREATE TRIGGER row_c AFTER UPDATE ON made FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('self', 'columns=$column', 'queue=b');
	CREATE TRIGGER stmt AFTER DELETE ON made REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION bgjob_enqueue_trigger('self', 'queue=c');
	INSERT INTO made (id) SELECT 6 + i FROM generate_series(1, 100) i;
	UPDATE made SET id = id;
	DELETE FROM made});
for my $queue ('a' .. 'c')
{
	is($node->safe_psql('postgres', "SELECT args FROM bgjob.jobs WHERE queue = '$queue' ORDER BY id LIMIT 1"), shift @rows, "generated columns in a trigger's rows ($queue)");
	is($node->safe_psql('postgres', "SELECT count(DISTINCT args) FROM bgjob.jobs WHERE queue = '$queue'"), '100', "each row has its own job ($queue)");
}

# ---- numbers that were drawn in bulk are in an incremental backup ----

if ($version >= 170000)
{
	set_and_reload($node, summarize_wal => 'on');
	my $full = $node->backup_dir . '/full';
	my $more = $node->backup_dir . '/more';
	command_ok([ 'pg_basebackup', '-D', $full, '-d', $node->connstr('postgres'), '--no-sync', '-c', 'fast' ], 'a backup');
	my $last = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT max(id) FROM bgjob_enqueue_many('note', array_fill('["x"]'::jsonb, ARRAY[10000]), delay => '1 d') id});
	command_ok([ 'pg_basebackup', '-D', $more, '-d', $node->connstr('postgres'), '--no-sync', '-c', 'fast', '-i', "$full/backup_manifest" ], 'an incremental one');
	my $copy = PostgreSQL::Test::Cluster->new('copy');
	$copy->init_from_backup($node, 'more', combine_with_prior => ['full']);
	$copy->append_conf('postgresql.conf', 'bgjob.enabled = off');
	$copy->start;
	is($copy->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE state = 'scheduled'}), '10000', 'the combined one has the jobs');
	cmp_ok($copy->safe_psql('postgres', q{SELECT bgjob_enqueue('self', '{}')}), '>', $last, 'the ids continue in the combined backup');
	$copy->stop;
}

check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)/, 'nothing has crashed');
done_testing();
