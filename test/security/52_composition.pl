# Continuations, batches and signals against a role that wants in: jobs, batches and signals of others, what it may see of them,
# memberships, run_as; rows that are written by hand; ten thousand of everything by one role; a circle by two sessions at once;
# the same unique_key at once. A dump, and a copy of a database.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('composition', 'bgjob.workers' => 3, fsync => 'off');
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE boss LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
	CREATE ROLE quiet LOGIN NOINHERIT IN ROLE app;
	GRANT USAGE ON SCHEMA bgjob TO app, other, boss, quiet, watcher;
	GRANT app TO boss;
	CREATE TABLE effect (job bigint, who name); GRANT INSERT ON effect TO PUBLIC;
	CREATE FUNCTION work() RETURNS text LANGUAGE sql AS $$INSERT INTO public.effect VALUES (bgjob_current_id(), current_user); SELECT 'secret of ' || current_user$$;
	CREATE FUNCTION seen() RETURNS jsonb LANGUAGE sql AS 'SELECT bgjob_antecedents()';
	SELECT bgjob_queue_pause('held')});

# as ROLE, SQL is the last line of the answer. code ROLE, SQL is the SQLSTATE of its error.
sub as { my ($role, $sql) = @_; return (split /\n/, $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql"))[-1] // '' }
sub code { my ($role, $sql) = @_; my $err; $node->psql('postgres', "SET SESSION AUTHORIZATION $role;\n\\set VERBOSITY sqlstate\n$sql", stderr => \$err); return $err =~ /ERROR:\s+(\w+)/ ? $1 : $err }
sub value { return $node->safe_psql('postgres', $_[0]) }
sub ended { return value("SELECT bgjob_wait($_[0], '60 s')") }

# ---- jobs and batches of others ----

my $job = as('app', q{SELECT bgjob_enqueue('work', queue => 'held')});
my $batch = as('app', q{SELECT bgjob_batch('private', parameters => '{"secret": 1}', unique_key => 'key')});
my $member = as('app', "SELECT bgjob_enqueue('work', queue => 'held', batch => $batch)");
my $child = as('app', "SELECT bgjob_enqueue('seen', after => ARRAY[$job], after_signal => '{go}')");
for my $role (qw(other watcher quiet))
{
	is(code($role, $_->[1]), '42501', "$role: $_->[0]") for (
		[ 'continues a job', "SELECT bgjob_enqueue('seen', after => ARRAY[$job])" ],
		[ 'continues it for any end', "SELECT bgjob_enqueue('seen', after => ARRAY[$job], condition => 'finished')" ],
		[ 'continues it in many', "SELECT bgjob_enqueue_many('seen', '{NULL}', after => ARRAY[$job])" ],
		[ 'continues a batch', "SELECT bgjob_enqueue('seen', after_batch => $batch)" ],
		[ 'joins a batch', "SELECT bgjob_enqueue('work', batch => $batch)" ],
		[ 'joins it in many', "SELECT bgjob_enqueue_many('work', '{NULL}', batch => $batch)" ],
		[ 'puts a batch into it', "SELECT bgjob_batch(parent => $batch)" ],
		[ 'cancels it', "SELECT bgjob_batch_cancel($batch)" ],
		[ 'retries it', "SELECT bgjob_batch_retry($batch, 'all')" ],
		[ 'runs its job as another role', "SELECT bgjob_enqueue('seen', after => ARRAY[$job], run_as => 'boss')" ],
		[ 'deletes an awaiting job', "SELECT bgjob_delete($child)" ],
		[ 'requeues it', "SELECT bgjob_requeue($child)" ]);
	is(as($role, q{SELECT bgjob_signal('go', '"forged"')}), 0, "$role: a signal reaches no job of others");
}
is(value("SELECT state FROM bgjob.jobs WHERE id = $child"), 'awaiting', 'the job awaits its own role\'s signal');
is(code('other', 'SELECT bgjob_batch_cancel(id) FROM bgjob_internal.batch'), '42501', 'the tables are closed');
is(code('other', 'SELECT * FROM bgjob_internal.signal'), '42501', 'that of signals, too');
is(code('other', "SELECT bgjob_enqueue('seen', run_as => 'app', after_signal => '{x}')"), '42501', 'run_as needs the membership');

# ---- who sees what ----

my $sees = q{SELECT (SELECT count(*) FROM bgjob.batches WHERE description = 'private') || ' ' || (SELECT count(*) FROM bgjob.signals WHERE role = 'other'::regrole) || ' ' || };
is(as('other', "$sees(SELECT count(*) FROM bgjob.jobs WHERE id IN ($job, $child))"), '0 1 0', 'another role sees its own signals, and nothing of others');
is(as('app', "$sees(SELECT count(*) FROM bgjob.jobs WHERE id IN ($job, $child))"), '1 0 2', 'the role sees its batches and jobs, not the signals of others');
is(as('quiet', "$sees(SELECT count(*) FROM bgjob.jobs WHERE id IN ($job, $child))"), '0 0 0', 'a member that does not inherit sees nothing');
is(as('watcher', "$sees(SELECT count(*) FROM bgjob.jobs WHERE id IN ($job, $child))"), '1 1 2', 'pg_monitor sees all');
is(code('other', "SELECT * FROM bgjob_why($child)"), '42501', 'bgjob_why() tells another role nothing');
like(as('boss', "SELECT string_agg(reason || detail, ' ') FROM bgjob_why($child)"), qr/awaiting.*(?:go|$job)/, 'and a member what is awaited');

# A condition of a view's reader is not asked about rows that he does not see.
value('CREATE SCHEMA spy AUTHORIZATION other');
as('other', q{CREATE FUNCTION spy.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$BEGIN RAISE WARNING 'saw %', $1; RETURN true; END$$});
my ($out, $err);
$node->psql('postgres', q{SET SESSION AUTHORIZATION other; SELECT count(*) FROM bgjob.batches WHERE spy.tell(description); SELECT count(*) FROM bgjob.signals WHERE spy.tell(name)}, stdout => \$out, stderr => \$err);
unlike($err, qr/private/, 'a function of another role sees no batch of others');

# ---- members, run_as, memberships that end ----

is(as('boss', "SELECT bgjob_signal('go', '\"of a member\"')"), 0, 'the signal of a member reaches the job, which awaits another one');
value(q{SELECT bgjob_queue_resume('held')});
is(ended($child), 'succeeded', 'it is released');
is(value("SELECT bgjob_result($child) #>> '{signals,go}'"), 'of a member', 'with the payload of the role that reached it');
is(value("SELECT bgjob_result($child) #>> '{$job,result}'"), 'secret of app', 'and the result of its parent');
value(q{SELECT bgjob_queue_pause('held')});
is(code('boss', "SELECT bgjob_enqueue('seen', after => ARRAY[$job])"), '', 'a member continues a job of the role');
$job = as('app', q{SELECT bgjob_enqueue('work', queue => 'held')});
my $late = as('boss', "SELECT bgjob_enqueue('seen', after => ARRAY[$job])");
my $own = as('boss', q{SELECT bgjob_enqueue('work', after_signal => '{once}')});
value('REVOKE app FROM boss');
is(as('app', q{SELECT bgjob_signal('once')}), 0, 'the role has no say over jobs of its members');
is(code('boss', "SELECT bgjob_delete($job)"), '42501', 'the former member does not control the job');
value(q{SELECT bgjob_queue_resume('held')});
is(ended($late), 'succeeded', 'the continuation of a former member runs');
like(value("SELECT bgjob_result($late)::text"), qr/secret of app/, 'with the result: rights on a parent are checked when a job is enqueued after it');
value("SELECT bgjob_delete($own); GRANT app TO boss");

# ---- names ----

my $long = 'x' x 10240;
is(code('app', "SELECT bgjob_signal('$long')"), '22023', 'a name of 10 kB');
is(code('app', "SELECT bgjob_enqueue('work', after_signal => '{$long}')"), '22023', 'of a signal that is awaited');
is(code('app', "SELECT bgjob_batch(unique_key => '$long')"), '22023', 'or of a key');
is(code('app', "SELECT bgjob_enqueue('seen', after_batch => $job)"), '22023', 'the id of a job is no batch');
is(code('app', "SELECT bgjob_enqueue('seen', after => ARRAY[$batch + 1000000])"), '22023', 'an id that there is not');
my $described = as('app', "SELECT bgjob_batch(repeat('d', 1000000), parameters => jsonb_build_object('p', repeat('p', 1000000)))");
is(value("SELECT length(description) FROM bgjob.batches WHERE id = $described"), 1000000, 'a description of 1 MB');

# ---- two sessions at once ----

# first SQL, in an open transaction, and then second SQL in another session, which may wait for the first; the errors of both.
sub both
{
	my ($first, $second) = @_;
	my @s = map { my $s = $node->background_psql('postgres', on_error_stop => 0); $s->query_safe('SET SESSION AUTHORIZATION app'); $s } 1 .. 2;
	$s[0]->query_safe('BEGIN'); $s[1]->query_safe('BEGIN');
	$s[0]->query_safe($first);
	$s[1]->query_until(qr/^sent/m, "\\echo sent\n$second;\nCOMMIT;\n\\echo done\n");
	$s[0]->query_safe('COMMIT');
	$s[1]->query('SELECT 1');
	$_->quit for @s;
	return;
}
my ($a, $b) = map { as('app', 'SELECT bgjob_batch()') } 1 .. 2;
both("SELECT bgjob_enqueue('work', batch => $a, after_batch => $b, tags => '{circle}')", "SELECT bgjob_enqueue('work', batch => $b, after_batch => $a, tags => '{circle}')");
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE 'circle' = ANY (tags) AND state NOT IN ('succeeded', 'deleted'))}, 'of a circle by two sessions at once, nobody waits for ever', 60);
both(q{SELECT bgjob_enqueue('work', after_signal => '{hold}', batch => bgjob_batch(unique_key => 'once'))}, q{SELECT bgjob_batch(unique_key => 'once')});
is(value(q{SELECT string_agg(state || total, ',') FROM bgjob.batches WHERE unique_key = 'once'}), 'processing1', 'two sessions with one unique_key have one batch');
is(as('app', q{SELECT bgjob_signal('hold')}), 1, 'whose job goes on');

# ---- ten thousand of everything ----

value(q{SELECT bgjob_queue_pause('held')});
as('app', q{
	SELECT count(bgjob_batch('many', unique_key => 'many ' || i)) FROM generate_series(1, 10000) i;
	SELECT count(bgjob_signal('many ' || i, to_jsonb(i))) FROM generate_series(1, 10000) i;
	SELECT count(bgjob_signal('same', to_jsonb(i))) FROM generate_series(1, 10000) i;
	SELECT bgjob_enqueue('work', queue => 'held') AS parent \gset
	SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, '{10000}'), after => ARRAY[:parent], tags => '{greedy}');
	SELECT count(*) FROM bgjob_enqueue_many('work', array_fill(NULL::jsonb, '{10000}'), after_signal => '{never}', tags => '{greedy}')});
my $began = time;
my $theirs = as('other', q{SELECT bgjob_enqueue('work')});
is(ended($theirs), 'succeeded', 'a job of another role runs beside');
my $after = as('other', "SELECT bgjob_enqueue('seen', after => ARRAY[$theirs], after_signal => '{mine}')");
as('other', q{SELECT bgjob_signal('mine')});
is(ended($after), 'succeeded', 'so does its continuation');
cmp_ok(time - $began, '<', 5, 'soon');
is(as('other', q{SELECT count(*) FROM bgjob.signals WHERE name LIKE 'many%'}), 0, 'of 20,000 signals, another role sees none');
is(as('app', q{SELECT payload FROM bgjob.signals WHERE name = 'same'}), 10000, 'of a name that was sent 10,000 times, the last payload is shown');
is(as('app', q{SELECT bgjob_signal('never')}), 10000, 'a signal releases 10,000');
as('app', q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE queue = 'held' AND state = 'enqueued'});
wait_until($node, q{SELECT count(*) = 10000 FROM bgjob.jobs WHERE 'greedy' = ANY (tags) AND state = 'deleted'}, 'the deletion of a parent deletes 10,000', 60);

# ---- rows that are written by hand ----

value(q{SELECT bgjob_queue_pause('held')});
my $parent = as('app', q{SELECT bgjob_enqueue('work', queue => 'held')});
my @forged = map { as('app', "SELECT bgjob_enqueue('work', after => ARRAY[$parent])") } 1 .. 3;
value("DELETE FROM bgjob_internal.edge WHERE dependant = $forged[0]; DELETE FROM bgjob_internal.awaiting WHERE job = $forged[1]");
value("SELECT bgjob_delete($parent)");
is(ended($forged[2]), 'deleted', 'beside rows that were deleted by hand, others go on');
is(code('app', "SELECT bgjob_delete($_)"), '', 'a job without its rows can be deleted') for @forged[0, 1];
is(value("SELECT count(*) FROM bgjob.jobs WHERE id IN ($forged[0], $forged[1]) AND state = 'deleted'"), 2, 'and is deleted then');

# ---- a restored database, and a copy ----

$node->safe_psql('postgres', 'CREATE DATABASE source');
sub in_db { my ($db, $sql) = @_; return (split /\n/, $node->safe_psql($db, $sql))[-1] // '' }
in_db('source', q{CREATE EXTENSION bgjob; SELECT bgjob_signal('first', '1'); SELECT bgjob_queue_pause('held');
	SELECT bgjob_batch('kept') AS b \gset
	SELECT bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'held', batch => :b, tags => '{parent}') AS p \gset
	SELECT bgjob_enqueue('SELECT bgjob_antecedents()', kind => 'sql', after => ARRAY[:p], after_signal => '{first,second}', batch => :b, tags => '{child}') AS c \gset
	SELECT bgjob_enqueue('SELECT 3', kind => 'sql', after_batch => :b, tags => '{last}')});
my $file = "$PostgreSQL::Test::Utils::tmp_check/dump.custom";
my $shown = q{SELECT string_agg(tags::text || state, ',' ORDER BY id) FROM bgjob.jobs};
my $figures = q{SELECT concat_ws(' ', description, state, total, pending, succeeded) FROM bgjob.batches};
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('source') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'pg_restore');
$node->safe_psql('postgres', 'ALTER DATABASE source ALLOW_CONNECTIONS false');
wait_until($node, q{SELECT count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity WHERE datname = 'source'}, 'nobody is in the database', 60);
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE source');
for my $db (qw(restored copied))
{
	is(in_db($db, $shown), '{parent}enqueued,{child}awaiting,{last}awaiting', "$db: the jobs are there");
	is(in_db($db, $figures), 'kept processing 2 2 0', 'and the batch');
	is(in_db($db, 'SELECT name FROM bgjob.signals'), 'first', 'and the signal');
	in_db($db, q{SELECT bgjob_queue_resume('held'); SELECT bgjob_signal('second', '2')});
	in_db($db, q{SELECT bgjob_adopt()});
	wait_until($node, q{SELECT state = 'succeeded' FROM bgjob.jobs WHERE tags = '{last}'}, 'after bgjob_adopt() all run', 60, $db);
	is(in_db($db, $figures), 'kept succeeded 2 0 2', 'the batch ends');
	like(in_db($db, q{SELECT bgjob_result(id) FROM bgjob.jobs WHERE tags = '{child}'}), qr/"first": 1.*"second": 2/, 'signals of before and after the restore have been heard');
	check_counters($node, $db);
}

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)/, 'no process has crashed');
check_counters($node);
done_testing();
