# The locks of a role block no other role: names added by an open transaction do not block other names, and a session
# that waits for a job, or reads one, does not block maintenance.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('locks');
$node->safe_psql('postgres', q{CREATE ROLE a LOGIN; CREATE ROLE b LOGIN; GRANT USAGE ON SCHEMA bgjob TO a, b;
	CREATE FUNCTION noop() RETURNS int LANGUAGE sql AS 'SELECT 1'});

# A session of a role, left open; its statement must not wait for more than some seconds.
sub session
{
	my ($role) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_safe("SET SESSION AUTHORIZATION $role; SET statement_timeout = '10s'");
	return $session;
}

# ---- names of recurring jobs ----

my $add = q{SELECT bgjob_recurring('%s', '@yearly', 'SELECT 1', kind => 'sql')};
my ($a, $b, $own) = map { session($_) } qw(a b a);
$a->query_safe('BEGIN');
$a->query_safe(q{SELECT count(bgjob_recurring('n' || i, '@yearly', 'SELECT 1', kind => 'sql')) FROM generate_series(1, 2000) i});
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'bgjob_internal.recurring'::regclass}), '0', 'names that are added hold no locks');
$b->query_safe("BEGIN");
$b->query_safe(sprintf($add, 'mine'));
$b->query_safe(sprintf($add, 'n1'));
$b->query_safe('COMMIT');
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.recurring_jobs WHERE owner = 'b'::regrole}), '2', 'another role adds what it likes, also of the same name');
$own->query_safe(sprintf($add, 'other'));
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.recurring_jobs WHERE owner = 'a'::regrole}), '1', 'the role itself can add another name meanwhile');

# The same name waits for the transaction that adds it, and updates what that has committed, or adds after a rollback.
for my $end ('COMMIT', 'ROLLBACK')
{
	my $waiter = $node->background_psql('postgres', on_error_stop => 0);

	$waiter->query_safe(q{SET SESSION AUTHORIZATION a; SET application_name = 'waiter'});
	$waiter->query_until(qr/started/, "\\echo started\n" . q{SELECT bgjob_recurring('n7', '@daily', 'SELECT 7', kind => 'sql');} . "\n\\echo done\n");
	wait_until($node, q{SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = 'waiter'}, 'the same name of the same owner waits', 20);
	$a->query_safe($end);
	wait_until($node, q{SELECT count(*) = 1 AND bool_and(schedule = '@daily') FROM bgjob.recurring_jobs WHERE owner = 'a'::regrole AND name = 'n7'}, "the recurring job is added after the $end of the other session", 20);
	$waiter->quit;
	$node->safe_psql('postgres', q{SET SESSION AUTHORIZATION a; SELECT count(bgjob_recurring_remove(name)) FROM bgjob.recurring_jobs});
	next if $end eq 'ROLLBACK';
	$a->query_safe('BEGIN');
	$a->query_safe(sprintf($add, 'n7'));
}
$a->query_safe('BEGIN');
$a->query_safe(sprintf($add, 'twice'));
$a->query_safe(q{SELECT bgjob_recurring('twice', '@hourly', 'SELECT 1', kind => 'sql'); SELECT bgjob_recurring_remove('twice')});
$a->query_safe(sprintf($add, 'twice'));
$a->query_safe('COMMIT');
is($node->safe_psql('postgres', q{SELECT string_agg(name || schedule, ',') FROM bgjob.recurring_jobs WHERE owner = 'a'::regrole}), 'twice@yearly',
	'one transaction adds, updates, removes and adds one name');

# ---- maintenance while a session waits for a job ----

my $far = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION a; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour')});
$b->query_safe("BEGIN");
$a->query_safe("BEGIN");
$a->query_safe("SELECT bgjob_result($far)");
$a->query_until(qr/waiting/, "\\echo waiting\nSELECT bgjob_wait($far, '60 s');\n");
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT bgjob_wait%' AND wait_event_type IS NOT NULL AND state = 'active'}, 'a role waits for a job', 20);
is($node->safe_psql('postgres', qq{SET statement_timeout = '10s'; $_; SELECT 'done'}), 'done', "$_ does not wait for it")
	for 'CREATE INDEX tags ON bgjob_internal.job USING gin (tags)', 'DROP INDEX bgjob_internal.tags', 'BEGIN; LOCK TABLE bgjob_internal.job IN ACCESS EXCLUSIVE MODE NOWAIT; COMMIT';
$node->safe_psql('postgres', qq{SET statement_timeout = '10s'; VACUUM FULL bgjob_internal.$_})
	for split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relnamespace = 'bgjob_internal'::regnamespace AND relkind = 'r'});
$node->safe_psql('postgres', "SELECT bgjob_requeue($far)");
wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $far", 'the job runs', 20);
$b->query_safe('COMMIT');

# Reads take no lock that blocks CREATE INDEX; functions keep no lock.
$b->query_safe('BEGIN');
my $locks = q{SELECT string_agg(c.relname || ' ' || l.mode, ', ') FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity USING (pid)
	WHERE usename = 'postgres' AND application_name = 'reader' AND c.relnamespace = 'bgjob_internal'::regnamespace AND c.relkind IN ('r', 'i')};
$b->query_safe(qq{SET application_name = 'reader'; RESET SESSION AUTHORIZATION; SELECT bgjob_result($far), bgjob_wait($far, '1 s')});
$b->query_safe(qq{SELECT * FROM bgjob_internal.counts(), bgjob_internal.servers(), bgjob_internal.server_count()});
is($node->safe_psql('postgres', $locks), '', 'functions that only read keep no lock on a table');
$b->query_safe("SELECT count(*) FROM bgjob.$_")
	for split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relnamespace = 'bgjob'::regnamespace AND relkind = 'v'});
is($node->safe_psql('postgres', "$locks AND l.mode <> 'AccessShareLock'"), '', 'views take no locks but those of any SELECT');
$b->query_safe('COMMIT');

check_counters($node);

# The extension is dropped while a session waits for a job; that gets an error, not a hang.
$a->query_safe('COMMIT');
$far = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION a; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour')});
$b->query_until(qr/waiting/, "\\echo waiting\nSELECT bgjob_wait($far, '60 s');\n\\echo over\n");
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT bgjob_wait%' AND wait_event_type IS NOT NULL AND state = 'active'}, 'a session waits once more', 20);
is($node->safe_psql('postgres', q{SET statement_timeout = '10s'; DROP EXTENSION bgjob CASCADE; SELECT 'done'}), 'done', 'DROP EXTENSION does not wait for it');
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'SELECT bgjob_wait%' AND state = 'active'}, 'it waits no longer', 20);
$_->quit for $a, $b, $own;
$node->stop;
done_testing();
