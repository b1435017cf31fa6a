# Composition under attack: what a process remembers of targets, locks that another role could take, signals of
# another role's names, very many of them, and what awaits them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('greedy', 'bgjob.workers' => 2, fsync => 'off');
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app, other});

# as ROLE, SQL is the last line of the answer.
sub as { my ($role, $sql) = @_; return (split /\n/, $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql"))[-1] // '' }
sub value { return $node->safe_psql('postgres', $_[0]) }
sub state_of { return value("SELECT state FROM bgjob.jobs WHERE id = $_[0]") }
sub becomes { my ($id, $state, $what) = @_; ok($node->poll_query_until('postgres', "SELECT state = '$state' FROM bgjob.jobs WHERE id = $id"), $what) }
# Has the scheduler review everything that has been asked for before.
sub reviewed
{
	my $id = value(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', after_signal => '{review}')});
	value(q{SELECT bgjob_signal('review')});
	becomes($id, 'succeeded', 'a job awaits a signal');
	return;
}

# ---- what is remembered of very many targets ----

# A session has seen some of them end in its own transaction, and rolls back.
my $session = $node->background_psql('postgres');
my $after = value(q{SELECT array_agg(bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour') ORDER BY n) FROM generate_series(1, 20) n});
my $job = value("SELECT bgjob_enqueue('SELECT 2', kind => 'sql', after => '$after', after_signal => '{go}', condition => 'finished')");
$session->query_safe("BEGIN; SELECT bgjob_delete(x) FROM unnest(('$after'::bigint[])[1:6]) x; SELECT bgjob_signal('go'); ROLLBACK");
value("SELECT bgjob_delete(x) FROM unnest(('$after'::bigint[])[7:]) x");
$session->query_safe(q{SELECT bgjob_signal('go')});
is(state_of($job), 'awaiting', 'targets that ended in a transaction that was rolled back are awaited');
value("SELECT bgjob_delete(x) FROM unnest(('$after'::bigint[])[1:6]) x");
becomes($job, 'succeeded', 'until they have ended');
$session->quit;

# The scheduler has seen one of them end; it runs again.
$after = value(q{SELECT array_agg(bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour') ORDER BY n) FROM generate_series(1, 20) n});
$job = value("SELECT bgjob_enqueue('SELECT 2', kind => 'sql', after => '$after', condition => 'finished')");
value("SELECT bgjob_delete(x) FROM unnest(('$after'::bigint[])[1:6]) x");
reviewed();
my $first = value("SELECT min(x) FROM unnest('$after'::bigint[]) x");
value("SELECT bgjob_reschedule($first, delay => '1 hour')");
value("SELECT bgjob_delete(x) FROM unnest(('$after'::bigint[])[7:]) x");
reviewed();
is(state_of($job), 'awaiting', 'a target that runs again is awaited again, whatever the scheduler has seen before');
value("SELECT bgjob_delete($first)");
becomes($job, 'succeeded', 'until it has ended');

# ---- locks ----

# Two transactions that may close a cycle wait for each other, and for no other role's.
my $behind = q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', batch => bgjob_batch(), after_batch => %s)};
my %filled;
for my $role (qw(app other))
{
	$filled{$role} = as($role, q{SELECT bgjob_batch()});
	as($role, "SELECT bgjob_enqueue('SELECT 1', kind => 'sql', batch => $filled{$role}, delay => '1 hour')");
}
my $idle = $node->background_psql('postgres');
$idle->query_safe("SET SESSION AUTHORIZATION other; BEGIN; " . sprintf($behind, $filled{other}) . q{; SELECT bgjob_batch(unique_key => 'k')});
like(as('app', q{SET statement_timeout = '20s'; } . sprintf($behind, $filled{app})), qr/^\d+$/, 'a role composes batches while another one does so in an idle transaction');
like(as('app', q{SET statement_timeout = '20s'; SELECT bgjob_batch(unique_key => 'k')}), qr/^\d+$/, 'and creates a batch with the same key');
is(value(q{SELECT string_agg(DISTINCT objid::regrole::text, ',') FROM pg_locks WHERE locktype = 'object'
	AND classid IN ('bgjob_internal.batch'::regclass, 'bgjob_internal.job'::regclass)}), 'other', 'such locks name a role: no key of another one is the same');
$idle->query_safe('ROLLBACK');

# ---- signals ----

# Another role's signal of the same name looks at no job that it does not reach.
my $scheduler = value(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});
$job = as('app', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', after_signal => '{approval}', await_timeout => '0.3 s')});
reviewed();
kill STOP => $scheduler;
value('SELECT pg_sleep(0.4)');
my $late = state_of($job);
is(as('other', q{SELECT bgjob_signal('approval')}), 0, 'a signal of another role releases nothing');
is(state_of($job), $late, 'nor does its transaction delete what waits too long');
kill CONT => $scheduler;
becomes($job, 'deleted', 'the scheduler does');

# Very many signals of the name cost one look.
as('other', q{SELECT count(bgjob_signal('mail')) FROM generate_series(1, 20000)});
my $begin = time;
as('app', q{SELECT count(bgjob_enqueue('SELECT 1', kind => 'sql', after_signal => '{mail}')) FROM generate_series(1, 500)});
reviewed();
cmp_ok(time - $begin, '<', 10, '500 jobs await a signal of whose name another role has sent 20,000');
is(as('app', q{SELECT bgjob_signal('mail', '"first"'), bgjob_signal('mail', '"last"')}), '500|0', 'and go on at the first that reaches them');
$job = as('app', q{SELECT bgjob_enqueue('SELECT bgjob_antecedents()', kind => 'sql', after_signal => '{mail}')});
becomes($job, 'succeeded', 'a later job finds it');
is(value("SELECT jsonb_path_query_first(result, '\$.**.mail') FROM bgjob.jobs WHERE id = $job"), '"last"', 'and reads the last one of its role');

# ---- what cannot be reviewed now ----

# The scheduler does not get a lock in a round in which it is to review; nothing is lost by that.
my $parent = value(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour')});
$idle->query_safe("RESET SESSION AUTHORIZATION; BEGIN; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', after => ARRAY[$parent], condition => 'finished')");
my $child = $parent + 1;
kill STOP => $scheduler;
value("SELECT bgjob_delete($parent)");
$idle->query_safe('COMMIT; BEGIN; LOCK TABLE bgjob_internal.edge');
my $round = q{SELECT value FROM bgjob.metrics WHERE name = 'bgjob_scheduler_last_round_timestamp_seconds'};
my $seen = value($round);
kill CONT => $scheduler;
for my $n (1 .. 3) # the first one may have begun before, and the last one has only begun
{
	wait_until($node, "SELECT ($round) > $seen", "round $n of the scheduler while what it needs is locked");
	$seen = value($round);
}
$idle->query_safe('COMMIT');
becomes($child, 'succeeded', 'a job is released when the scheduler has not got a lock before');

# More dependants than are reviewed at a time.
$parent = value(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour')});
$idle->query_safe("BEGIN; SELECT count(bgjob_enqueue_many) FROM bgjob_enqueue_many('SELECT 1', array_fill('[]'::jsonb, ARRAY[3000]), kind => 'sql', after => ARRAY[$parent], condition => 'succeeded')");
value("SELECT bgjob_delete($parent)");
$idle->query_safe('COMMIT');
ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM bgjob_internal.awaiting WHERE queue = 'default' AND deadline IS NULL AND job > } . $parent . ')'), 'all of 3,000 are, that were enqueued while their target ended');

$idle->quit;
check_counters($node);
done_testing();
