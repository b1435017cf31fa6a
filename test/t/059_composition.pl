# Jobs that await others, in batches, when much happens at the same time. First what can be said of one case: sessions that idle in
# their transaction, prepared transactions over a restart, a scheduler that is stopped or ended in between, more reviews than there
# is room for, very many parents and very many children. Then a random load: directed graphs of jobs with every condition, nested
# batches, signals, failures, retries, deleted, requeued, rescheduled jobs, canceled batches, rollbacks, savepoints,
# prepared transactions, while workers, the scheduler, sessions and the whole server are killed. In the end each job is over, each one
# has run only after its condition was met, and each one that could not run says the truth about why.
#
# BGJOB_NODES is the number of jobs of that load (10000; 0: there is none; 100000 takes some minutes), BGJOB_SEED its seed, BGJOB_FAN that of the
# children and parents of one job (10000). BGJOB_RETRY=1: no job awaits a batch, but batches are retried.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $nodes = $ENV{BGJOB_NODES} // 10_000;
my $seed  = $ENV{BGJOB_SEED}  // 17;
my $fan   = $ENV{BGJOB_FAN}   // 10_000;
my $patience = 120 + $nodes / 100;
my $node = bgjob_cluster('composition', 'bgjob.workers' => 16, max_connections => 60, max_prepared_transactions => 60,
	restart_after_crash => 'on', 'bgjob.max_crashes' => 20, log_statement => 'none');
my $tmp = $PostgreSQL::Test::Utils::tmp_check;

sub value { return $node->safe_psql('postgres', $_[0]) }

# session starts a psql that stays in its transaction between two calls of say().
sub session
{
	my %s = (in => '', out => '', err => '');

	$s{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=0', '-d', $node->connstr('postgres') ],
		\$s{in}, \$s{out}, \$s{err}, IPC::Run::timeout($patience + 300));
	return \%s;
}

# say SESSION, SQL… returns what the session has answered.
sub say
{
	my ($s, @queries) = @_;

	$s->{out} = $s->{err} = '';
	$s->{in} .= join(";\n", @queries) . ";\n\\echo done\n\\warn done\n";
	$s->{run}->pump until $s->{out} =~ /^done$/m && $s->{err} =~ /^done$/m;
	(my $answer = $s->{out}) =~ s/^done\n//m;
	(my $error = $s->{err}) =~ s/^done\n//m;
	diag("session: $error") if $error ne '';
	$answer =~ s/\n$//;
	return $answer;
}

sub state_of { return value("SELECT state FROM bgjob.jobs WHERE id = $_[0]") }

# becomes JOB, STATE, WHAT
sub becomes
{
	my ($job, $state, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until($node, "SELECT state = '$state' FROM bgjob.jobs WHERE id = $job", $what, 30) or diag(value("SELECT * FROM bgjob.job_states WHERE job_id = $job"));
}

# A parent that waits until it is requeued, or deleted.
sub parent { return value(q{SELECT bgjob_enqueue('fine', delay => '1 day')}) }
sub after { my ($parents, $more) = @_; return "SELECT bgjob_enqueue('fine', after => '{$parents}'" . ($more // '') . ')' }
sub scheduler { return pid_of($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'}) }

value(q{CREATE FUNCTION fine() RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION bad() RETURNS void LANGUAGE sql AS 'SELECT 1 / 0';
	SELECT bgjob_queue('g', group_size => 20)});

# ---- sessions that idle in their transaction ----
{
	my $idle = session();
	my $p = parent();
	say($idle, 'BEGIN');
	my $c = say($idle, after($p));
	my $other = value(after($p));
	value("SELECT bgjob_requeue($p)");
	becomes($p, 'succeeded', 'a parent ends while a session has enqueued a child and idles');
	becomes($other, 'succeeded', 'and so does another child');
	say($idle, 'COMMIT');
	becomes($c, 'succeeded', 'the child runs when it is committed');

	# The end of a savepoint decides.
	$p = parent();
	say($idle, 'BEGIN', 'SAVEPOINT a');
	$c = say($idle, after($p));
	say($idle, 'ROLLBACK TO a');
	my $kept = say($idle, after($p));
	say($idle, 'RELEASE a');
	value("SELECT bgjob_requeue($p)");
	becomes($p, 'succeeded', 'a parent ends while a session has a savepoint');
	say($idle, 'COMMIT');
	becomes($kept, 'succeeded', 'the child that was kept runs');
	is(state_of($c), '', 'the one that was rolled back does not exist');

	# A session deletes a job that awaits, and idles: nobody waits for it.
	for my $end ('COMMIT', 'ROLLBACK')
	{
		$p = parent();
		$c = value(after($p));
		$other = value(after($p));
		say($idle, 'BEGIN', "SELECT bgjob_delete($c)");
		value("SELECT bgjob_requeue($p)");
		becomes($p, 'succeeded', "$end: a parent ends while a session deletes a child and idles");
		becomes($other, 'succeeded', "$end: another child runs");
		is(state_of($c), 'awaiting', "$end: the child is as it was");
		say($idle, $end);
		becomes($c, $end eq 'COMMIT' ? 'deleted' : 'succeeded', "$end: the child is over");
	}

	# The parent's end is what idles.
	for my $end ('COMMIT', 'ROLLBACK')
	{
		$p = parent();
		say($idle, 'BEGIN', "SELECT bgjob_delete($p)");
		$c = value(after($p, q{, condition => 'deleted'}));
		my $hopeless = value(after($p));
		is(state_of($c), 'awaiting', "$end: a child is enqueued while another session deletes its parent");
		say($idle, $end);
		value("SELECT bgjob_requeue($p)") if $end eq 'ROLLBACK';
		becomes($c, $end eq 'COMMIT' ? 'succeeded' : 'deleted', "$end: it is over");
		becomes($hopeless, $end eq 'COMMIT' ? 'deleted' : 'succeeded', "$end: and so is one with the other condition");
	}

	# Two parents that end at the same time: neither transaction sees the other's end.
	my ($p1, $p2) = (parent(), parent());
	$c = value(after("$p1,$p2", q{, condition => 'finished'}));
	my $second = session();
	say($idle, 'BEGIN', "SELECT bgjob_delete($p1)");
	say($second, 'BEGIN', "SELECT bgjob_delete($p2)");
	say($idle, 'COMMIT');
	is(state_of($c), 'awaiting', 'one of two parents has ended');
	say($second, 'COMMIT');
	becomes($c, 'succeeded', 'both of them: the child runs');

	# Likewise the last two jobs of a batch, and the jobs of two batches.
	my $b = value('SELECT bgjob_batch()');
	($p1, $p2) = map { value("SELECT bgjob_enqueue('fine', delay => '1 day', batch => $b)") } 1, 2;
	$c = value("SELECT bgjob_enqueue('fine', after_batch => $b, condition => 'finished')");
	say($idle, 'BEGIN', "SELECT bgjob_delete($p1)");
	say($second, 'BEGIN', "SELECT bgjob_delete($p2)");
	say($idle, 'COMMIT');
	say($second, 'COMMIT');
	becomes($c, 'succeeded', 'the last two jobs of a batch end at the same time: what awaits the batch runs');
	wait_until($node, "SELECT state = 'deleted' AND finished_at IS NOT NULL FROM bgjob.batches WHERE id = $b", 'and the batch has finished');

	# A signal and a job that awaits it, in either order.
	say($idle, 'BEGIN');
	$c = say($idle, q{SELECT bgjob_enqueue('fine', after_signal => '{go}')});
	is(value(q{SELECT bgjob_signal('go')}), '0', 'a signal is sent while a job that awaits it is not committed');
	say($idle, 'COMMIT');
	becomes($c, 'succeeded', 'it has not missed it');
	say($idle, 'BEGIN');
	say($idle, q{SELECT bgjob_signal('go on')});
	$c = value(q{SELECT bgjob_enqueue('fine', after_signal => '{"go on"}')});
	is(state_of($c), 'awaiting', 'a signal that is not committed is not there');
	say($idle, 'COMMIT');
	becomes($c, 'succeeded', 'then it is');
	for my $s ($idle, $second) { $s->{in} .= "\\q\n"; $s->{run}->finish }
}

# ---- prepared transactions, also over a restart ----
for my $restart (0, 1)
{
	my $when = $restart ? 'after a restart' : 'at once';
	my ($p, $gone, $back) = (parent(), parent(), parent());
	my ($c, $undone) = map { value("BEGIN; @{[after($p)]}; PREPARE TRANSACTION 'child$_'") } 1, 2;
	value("BEGIN; SELECT bgjob_delete($gone); PREPARE TRANSACTION 'gone'");
	value("BEGIN; SELECT bgjob_delete($back); PREPARE TRANSACTION 'back'");
	my %child = map { $_ => [ value(after($_, q{, condition => 'deleted'})), value(after($_)) ] } $gone, $back;
	value("BEGIN; SELECT bgjob_signal('prepared $restart'); PREPARE TRANSACTION 'signal'");
	my $signalled = value("SELECT bgjob_enqueue('fine', after_signal => '{prepared $restart}')");
	$node->restart('fast') if $restart;
	value("SELECT bgjob_requeue($p)");
	becomes($p, 'succeeded', "$when: a parent of prepared children ends");
	value(q{COMMIT PREPARED 'child1'});
	value(q{ROLLBACK PREPARED 'child2'});
	becomes($c, 'succeeded', "$when: COMMIT PREPARED of a child");
	is(state_of($undone), '', "$when: ROLLBACK PREPARED of a child");
	is(join(' ', map { state_of($_) } map { @$_ } values %child), join(' ', ('awaiting') x 4), "$when: nothing ends by a prepared end of its parent");
	is(state_of($signalled), 'awaiting', "$when: nor by a prepared signal");
	value(qq{$_}) for q{COMMIT PREPARED 'gone'}, q{ROLLBACK PREPARED 'back'}, q{COMMIT PREPARED 'signal'};
	becomes($child{$gone}[0], 'succeeded', "$when: COMMIT PREPARED of a parent's end");
	becomes($child{$gone}[1], 'deleted', "$when: and a child that cannot run any more");
	becomes($signalled, 'succeeded', "$when: COMMIT PREPARED of a signal");
	is(join(' ', map { state_of($_) } @{ $child{$back} }), 'awaiting awaiting', "$when: ROLLBACK PREPARED of a parent's end");
	value("SELECT bgjob_requeue($back)");
	becomes($child{$back}[0], 'deleted', "$when: the parent succeeds later");
	becomes($child{$back}[1], 'succeeded', "$when: and its child runs");
}

# ---- more reviews than there is room for; a scheduler that is stopped, or ended, in between ----
for my $how ('stopped', 'terminated')
{
	my $n = 600;
	my $idle = session();
	value('DROP TABLE IF EXISTS many');
	value("CREATE TABLE many AS SELECT i, bgjob_enqueue('fine', delay => '1 day') AS p, NULL::bigint AS c FROM generate_series(1, $n) i");
	say($idle, 'BEGIN', q{UPDATE many SET c = bgjob_enqueue('fine', after => ARRAY[p], condition => 'deleted')});
	my $pid = scheduler();
	kill 'STOP', $pid;
	# The scheduler holds no lock here that these need: it is stopped while it sleeps or looks, and they only notify it.
	say($idle, 'SELECT 1');
	my $ender = session();
	say($ender, 'SELECT count(bgjob_delete(p)) FROM many');
	say($idle, 'COMMIT');
	kill 'TERM', $pid if $how eq 'terminated';
	kill 'CONT', $pid;
	wait_until($node, qq{SELECT count(*) = $n FROM many JOIN bgjob.jobs ON id = c WHERE state = 'succeeded'}, "$n reviews are asked for of a scheduler that is $how: all children run");
	for my $s ($idle, $ender) { $s->{in} .= "\\q\n"; $s->{run}->finish }
}

# ---- a server that is started with jobs that await: who awaits whom is not known yet ----
{
	my ($p, $q) = (parent(), parent());
	my $c = value(after($p));
	my $d = value(after($c, q{, condition => 'finished'}));
	my $e = value(after($q));
	$node->append_conf('postgresql.conf', q{bgjob.databases = 'nobody'});
	$node->restart('immediate');
	value("SELECT bgjob_delete($p)");
	is(join(' ', state_of($c), state_of($d)), 'deleted enqueued', 'without a scheduler the end of a parent counts at once');
	$node->append_conf('postgresql.conf', q{bgjob.databases = '*'});
	$node->restart('immediate');
	becomes($d, 'succeeded', 'a child that was released runs after the next start');
	value("SELECT bgjob_requeue($q)");
	becomes($e, 'succeeded', 'and one that awaited all the time');
}

# ---- very many ----
{
	value(qq{CREATE TABLE fan AS SELECT id FROM bgjob_enqueue_many('fine', array_fill(NULL::jsonb, ARRAY[$fan]), queue => 'g', delay => '1 day') id});
	my $c = value(q{SELECT bgjob_enqueue('fine', after => (SELECT array_agg(id) FROM fan))});
	value(q{SELECT count(bgjob_requeue(id)) FROM fan});
	wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $c", "a job runs after $fan parents");
	is(value(qq{SELECT count(*) FROM fan JOIN bgjob.jobs j USING (id), bgjob.jobs c WHERE c.id = $c AND (j.state <> 'succeeded' OR j.finished_at > c.started_at)}), '0', 'and not before one of them');
	my $p = parent();
	value(qq{SELECT count(*) FROM bgjob_enqueue_many('fine', array_fill(NULL::jsonb, ARRAY[$fan]), after => '{$p}', tags => '{fan}')});
	my $began = time;
	value("SELECT bgjob_delete($p)");
	note(sprintf('%d children of a deleted job are deleted in %.1f s', $fan, time - $began));
	is(value(qq{SELECT state, reason, count(*) FROM bgjob.jobs WHERE tags = '{fan}' GROUP BY 1, 2}), "deleted|Cannot run: job $p was deleted|$fan", "$fan children of a deleted job are deleted in one statement");
	$p = parent();
	value(qq{SELECT count(*) FROM bgjob_enqueue_many('fine', array_fill(NULL::jsonb, ARRAY[$fan]), after => '{$p}', queue => 'g', tags => '{out}')});
	value("SELECT bgjob_requeue($p)");
	wait_until($node, qq{SELECT count(*) = $fan FROM bgjob.jobs WHERE tags = '{out}' AND state = 'succeeded'}, "$fan children run after one parent");
}
check_counters($node);

# ---- a random load ----
value(q{SELECT bgjob_purge(s) FROM unnest('{succeeded,failed,deleted}'::text[]) s});
value(q{
	CREATE ROLE auditor;
	CREATE TABLE applied (job bigint, state text);
	CREATE FUNCTION note_applied(c jsonb) RETURNS jsonb LANGUAGE sql AS $$
		INSERT INTO public.applied VALUES ((c ->> 'id')::bigint, c ->> 'state') RETURNING NULL::jsonb $$;
	ALTER TABLE applied OWNER TO auditor;
	ALTER FUNCTION note_applied OWNER TO auditor;
	GRANT USAGE ON SCHEMA public TO auditor;
	-- What sessions have asked for by hand; jobs that were enqueued by a transaction that is prepared.
	CREATE TABLE meddled (id bigint, what text);
	CREATE TABLE prepared (id bigint);
	CREATE TABLE problem (sqlstate text, message text, what text);
	CREATE FUNCTION node(p float) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		b bigint;
		me bigint := bgjob_current_id();
	BEGIN
		IF random() < 0.02 THEN PERFORM pg_sleep(random() * 0.02); END IF;
		IF random() < 0.02 THEN
			b := bgjob_current_batch();
			IF b IS NOT NULL THEN PERFORM bgjob_enqueue('node', '[0.1]', batch => b, max_retries => 0); END IF;
		END IF;
		IF random() < p THEN RAISE EXCEPTION 'node failed'; END IF;
		IF random() < 0.05 AND EXISTS (SELECT FROM bgjob.jobs j WHERE id = me AND after <> '{}'
			AND (SELECT count(*) FROM jsonb_object_keys(bgjob_antecedents()) k WHERE k <> 'signals') <> (SELECT count(DISTINCT a) FROM unnest(j.after) a)) THEN
			RAISE EXCEPTION 'antecedents of % are missing: %', me, bgjob_antecedents() USING ERRCODE = 'XX999';
		END IF;
		RETURN 1;
	END $$;
	CREATE FUNCTION watched(p float) RETURNS int LANGUAGE sql AS 'SELECT public.node(p)';
	CREATE FUNCTION pick(of bigint[]) RETURNS bigint LANGUAGE sql AS 'SELECT of[1 + floor(random() * cardinality(of))::int]';
	CREATE FUNCTION pick(of text[]) RETURNS text LANGUAGE sql AS 'SELECT of[1 + floor(random() * cardinality(of))::int]';
	-- make enqueues n jobs with random parents, of those that it has enqueued and of the last of others.
	CREATE FUNCTION make(n int, seed float, prepares boolean, round int, after_batches boolean) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		ids bigint[] := '{}';
		recent bigint[];
		bs bigint[];
		b bigint;
		ab bigint;
		j bigint;
		ps bigint[];
		sg text[];
		cond text;
	BEGIN
		PERFORM setseed(seed);
		SELECT array_agg(id) INTO recent FROM (SELECT id FROM bgjob_internal.job ORDER BY id DESC LIMIT 200) x;
		SELECT array_agg(id) INTO bs FROM (SELECT id FROM bgjob_internal.batch ORDER BY id DESC LIMIT 10) x;
		IF random() < 0.2 THEN
			b := bgjob_batch(parent => CASE WHEN random() < 0.4 THEN pick(bs) END);
			bs := bs || b;
		END IF;
		FOR i IN 1 .. n LOOP
			ps := '{}'; ab := NULL; sg := NULL; b := NULL;
			FOR m IN 1 .. CASE WHEN random() < 0.3 THEN 0 WHEN random() < 0.6 THEN 1 WHEN random() < 0.95 THEN 3 ELSE 25 END LOOP
				ps := array_remove(ps || CASE WHEN random() < 0.5 AND cardinality(ids) > 0 THEN pick(ids) ELSE pick(recent) END, NULL);
			END LOOP;
			cond := pick('{succeeded,succeeded,finished,finished,finished,any,failed,deleted}'::text[]);
			IF random() < 0.05 AND after_batches THEN ab := pick(bs); END IF;
			IF random() < 0.3 THEN b := pick(bs); END IF;
			IF random() < 0.02 THEN sg := ARRAY[format('%s/%s', round, floor(random() * 20))]; END IF;
			IF cardinality(ps) = 0 AND ab IS NULL THEN cond := 'succeeded'; END IF;
			BEGIN
				j := bgjob_enqueue(CASE WHEN random() < 0.1 THEN 'watched' ELSE 'node' END, jsonb_build_array(CASE WHEN random() < 0.1 THEN 1 ELSE 0.05 END),
					queue => CASE WHEN random() < 0.3 THEN 'g' END, after => ps, after_batch => ab, after_signal => sg, condition => cond, batch => b,
					max_retries => CASE WHEN random() < 0.02 THEN 1 ELSE 0 END, retry_delays => '{0.2 s}', priority => floor(random() * 3)::int,
					await_timeout => CASE WHEN cardinality(ps) > 0 AND random() < 0.02 THEN interval '2 s' END,
					delay => CASE WHEN random() < 0.01 THEN interval '0.5 s' END);
				IF random() < 0.01 THEN RAISE EXCEPTION 'undone' USING ERRCODE = 'XX001'; END IF;
				ids := ids || j;
				IF prepares THEN INSERT INTO prepared VALUES (j); END IF;
			EXCEPTION
				WHEN SQLSTATE 'XX001' THEN NULL;
				WHEN invalid_parameter_value THEN -- a cycle
					IF ab IS NULL AND b IS NULL THEN INSERT INTO problem VALUES (SQLSTATE, SQLERRM, 'make'); END IF;
			END;
		END LOOP;
	END $$;
	CREATE FUNCTION meddle(seed float, round int, after_batches boolean) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		j bigint;
		b bigint;
		x float;
		what text;
	BEGIN
		PERFORM setseed(seed);
		x := random();
		SELECT id INTO j FROM bgjob_internal.job ORDER BY id DESC OFFSET floor(random() * 300)::int LIMIT 1;
		SELECT id INTO b FROM bgjob_internal.batch ORDER BY id DESC OFFSET floor(random() * 20)::int LIMIT 1;
		what := CASE WHEN x < 0.4 THEN 'delete' WHEN x < 0.6 THEN 'requeue' WHEN x < 0.7 THEN 'reschedule' WHEN x < 0.85 THEN 'signal' WHEN x < 0.92 OR after_batches THEN 'cancel' ELSE 'retry' END;
		BEGIN
			CASE what
				WHEN 'delete' THEN PERFORM bgjob_delete(j);
				WHEN 'requeue' THEN PERFORM bgjob_requeue(j);
				WHEN 'reschedule' THEN PERFORM bgjob_reschedule(j, delay => '0.1 s');
				WHEN 'signal' THEN PERFORM bgjob_signal(format('%s/%s', round, floor(random() * 20)), '1');
				WHEN 'cancel' THEN PERFORM bgjob_batch_cancel(b);
				WHEN 'retry' THEN PERFORM bgjob_batch_retry(b, pick('{failed,unsuccessful,all}'::text[]));
			END CASE;
			INSERT INTO meddled SELECT j, what WHERE j IS NOT NULL;
		EXCEPTION WHEN OTHERS THEN INSERT INTO problem VALUES (SQLSTATE, SQLERRM, what);
		END;
	END $$});
value(q{SELECT bgjob_filter('audit', 'applied', 'note_applied', jobs => '%watched%')});
append_to_file("$tmp/make.pgb", q{\set n random(1, 20)
\set s random(1, 1000000000)
\set r random(1, 20)
\set z random(0, 30)
BEGIN;
SELECT make(:n, :s / 1e9, false, :round, :after_batches::boolean);
\if :r = 1
ROLLBACK;
\elif :r = 2
\sleep :z ms
COMMIT;
\else
COMMIT;
\endif
});
append_to_file("$tmp/meddle.pgb", q{\set s random(1, 1000000000)
\set r random(1, 10)
BEGIN;
SELECT meddle(:s / 1e9, :round, :after_batches::boolean);
SELECT meddle(1 - :s / 1e9, :round, :after_batches::boolean);
\if :r = 1
ROLLBACK;
\else
COMMIT;
\endif
\sleep 5 ms
});
# A third is left as it is, for others to end.
append_to_file("$tmp/prepare.pgb", q{\set s random(1, 1000000000)
\set r random(1, 3)
\set z random(0, 50)
BEGIN;
SELECT make(3, :s / 1e9, true, :round, :after_batches::boolean);
SELECT meddle(:s / 1e9, :round, :after_batches::boolean);
PREPARE TRANSACTION 'p:s';
\sleep :z ms
\if :r = 1
COMMIT PREPARED 'p:s';
\elif :r = 2
ROLLBACK PREPARED 'p:s';
\endif
\sleep 100 ms
});

srand($seed);
note("seed $seed, $nodes jobs");

sub load_session
{
	my ($file, $round, $clients, $seconds, $after_batches) = @_;
	my %s = (in => '', out => '', err => '');

	$s{run} = IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-T', $seconds, '--max-tries=10', '--random-seed=' . ($seed * 100 + $round), '-D', "round=$round", '-D', "after_batches=$after_batches",
			'-f', "$tmp/$file.pgb", '-h', $node->host, '-p', $node->port, 'postgres' ], \$s{in}, \$s{out}, \$s{err}, IPC::Run::timeout($patience + 300));
	return \%s;
}

# end_prepared AGE ends prepared transactions that are older.
sub end_prepared
{
	my ($age) = @_;

	for my $gid (split /\n/, ask($node, "SELECT gid FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - '$age s'::interval"))
	{
		my $how = rand() < 0.5 ? 'COMMIT' : 'ROLLBACK';
		$node->psql('postgres', "$how PREPARED '$gid'");
	}
}

# harm HOW harms the running cluster.
sub harm
{
	my ($how) = @_;
	my %of = (
		worker    => q{SELECT pid FROM bgjob.workers WHERE job_id IS NOT NULL ORDER BY random() LIMIT 1},
		scheduler => q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'},
		session   => q{SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench' ORDER BY random() LIMIT 1});

	if ($how eq 'server')
	{
		$node->kill9;
		start_again($node);
		return;
	}
	my ($signal, $whom) = split / /, $how;
	my ($status, $pid) = $node->psql('postgres', $of{$whom});
	return unless defined $pid && $pid =~ /^\d+$/;
	kill $signal, $pid;
	return unless $signal eq 'STOP';
	usleep(300_000);
	kill 'CONT', $pid;
}

my @harms = ('TERM scheduler', 'STOP scheduler', 'INT worker', 'TERM worker', 'TERM session', 'KILL worker', 'KILL scheduler', 'server');
my $round = 0;

# load AFTER_BATCHES: with jobs that await batches, or with batches that are retried.
sub load
{
	my ($after_batches) = @_;
	my $made = 0;
	my %harmed;
	my $began = time;
	while (($made < $nodes || $round < 4) && $round <= $nodes / 500 + 10)
	{
		my @load = (map { load_session(@$_, $after_batches) } [ 'make', $round, 3, 1 ], [ 'meddle', $round, 2, 1 ], [ 'prepare', $round, 2, 1 ]);

		# One harm that ends all, in most rounds, and smaller ones before it.
		my @plan = ((map { $harms[ rand 5 ] } 1 .. 3), $round > 0 ? $harms[ 5 + $round % 3 ] : ());
		for my $how (@plan)
		{
			usleep(100_000 + rand 200_000);
			harm($how);
			$harmed{$how}++;
			end_prepared(1);
		}
		# Prepared transactions hold locks that others wait for (store/cycle.c).
		while (grep { $_->{run}->pumpable } @load)
		{
			$_->{run}->pumpable && $_->{run}->pump_nb for @load;
			end_prepared(0.5);
			usleep(50_000);
		}
		$_->{run}->finish for @load;
		ask($node, 'SELECT 1');
		my @unexpected = grep { /ERROR|FATAL|PANIC/ && !/terminat|crash|shut ?down|starting up|recovery mode|canceling statement|deadlock/ } split /\n/, join("\n", map { $_->{err} } @load);
		is(join("\n", @unexpected), '', "round $round: no error that was not to be expected") if @unexpected;
		$made = ask($node, 'SELECT count(*) FROM bgjob_internal.job');
		$round++;
	}
	note(sprintf('%d jobs in %d rounds, %.1f s; %s', $made, $round, time - $began, join(', ', map { "$_ $harmed{$_}" } sort keys %harmed)));
	end_prepared(0);

	# What can end ends; then nothing awaits what is there, or cannot be met any more.
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob_internal.job WHERE state IN ('e', 's', 'p')}, 'all that can run has run', $patience);
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob_internal.job j WHERE state = 'a' AND after_signal IS NOT NULL
			AND NOT EXISTS (SELECT FROM unnest(after) a JOIN bgjob_internal.job p ON p.id = a WHERE p.state NOT IN ('k', 'f', 'd'))
			AND NOT EXISTS (SELECT FROM bgjob_internal.member m WHERE m.batch = j.after_batch AND m.state = 'o')
			AND NOT EXISTS (SELECT FROM unnest(after_signal) s WHERE NOT EXISTS (SELECT FROM bgjob_internal.signal g WHERE g.name = s))}, 'no signal is lost', 20);
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob_internal.job j WHERE state = 'a' AND coalesce(j.condition, 's') <> 'a' AND EXISTS (
			SELECT FROM unnest(after) a LEFT JOIN bgjob_internal.job p ON p.id = a
			WHERE coalesce(p.state, 'd') IN ('k', 'f', 'd') AND coalesce(p.state, 'd') <> ALL (CASE coalesce(j.condition, 's') WHEN 'e' THEN '{k,f,d}' WHEN 'f' THEN '{f}' WHEN 'd' THEN '{d}' ELSE '{k}' END::"char"[]))},
		'nothing awaits that cannot run any more', 20);
	value(q{SELECT bgjob_signal(s) FROM (SELECT DISTINCT unnest(after_signal) s FROM bgjob_internal.job WHERE state = 'a') x});
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob_internal.job WHERE state NOT IN ('k', 'f', 'd')}, 'after the last signals each job is over', $patience)
		or diag(value(q{SELECT * FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'failed', 'deleted') LIMIT 5}));
	note(value(q{SELECT string_agg(format('%s %s', state, n), ', ') FROM (SELECT state, count(*) n FROM bgjob.jobs GROUP BY 1 ORDER BY 1) x}));
	is(value(q{SELECT sqlstate, what, message, count(*) FROM problem WHERE sqlstate <> '40P01' GROUP BY 1, 2, 3 LIMIT 10}), '', 'no error that was not to be expected');
	is(value(q{SELECT count(*) FROM bgjob.jobs WHERE error ->> 'sqlstate' = 'XX999'}), '0', 'a job finds all of its antecedents');
	cmp_ok(value('SELECT count(*) FROM meddled'), '>', $nodes / 100, 'much was done by hand');

	# The history of all jobs. An end is a final state after which there was no retry. A job goes on where it leaves "awaiting", or begins without it.
	value(q{
		CREATE TABLE h AS SELECT job_id, seq, state, reason, at, lead(state) OVER w AS next, lead(reason) OVER w AS next_reason, lag(state) OVER w AS prev
			FROM bgjob.job_states WINDOW w AS (PARTITION BY job_id ORDER BY seq);
		CREATE INDEX ON h (job_id);
		CREATE TABLE ended AS SELECT job_id AS id, state, at FROM h
			WHERE state IN ('succeeded', 'deleted') OR state = 'failed' AND NOT (next IS NOT DISTINCT FROM 'scheduled' AND coalesce(next_reason, '') LIKE 'Retry attempt%');
		CREATE INDEX ON ended (id);
		CREATE TABLE went AS SELECT j.id, j.after, j.after_batch, j.after_signal, coalesce(j.condition, 's') AS condition, j.run_as, h.seq, h.state, h.reason, h.at, h.next
			FROM bgjob_internal.job j JOIN h ON h.job_id = j.id
			WHERE (j.after IS NOT NULL OR j.after_batch IS NOT NULL OR j.after_signal IS NOT NULL)
				AND (h.prev = 'awaiting' OR h.prev IS NULL AND h.state <> 'awaiting');
		CREATE TABLE released AS SELECT * FROM went WHERE state IN ('enqueued', 'scheduled', 'processing')
			AND next IS DISTINCT FROM 'deleted' -- one that has not started; if its deletion was left to a worker, its history begins so
			AND id NOT IN (SELECT m.id FROM meddled m WHERE what IN ('requeue', 'reschedule'));
		ANALYZE h, ended, went, released});
	cmp_ok(value('SELECT count(*) FROM released'), '>', $nodes / 10, 'many jobs were released');
	my $meets = q{e.state = ANY (CASE condition WHEN 'e' THEN '{succeeded,failed,deleted}' WHEN 'f' THEN '{failed}' WHEN 'd' THEN '{deleted}' ELSE '{succeeded}' END::text[])};
	is(value(qq{SELECT r.id, r.condition, a, r.at FROM released r, unnest(r.after) a
		WHERE condition <> 'a' AND NOT EXISTS (SELECT FROM ended e WHERE e.id = a AND e.at <= r.at AND $meets) LIMIT 5}), '', 'each job went on after all of its parents had ended as it requires');
	is(value(qq{SELECT r.id, r.at FROM released r
		WHERE condition = 'a' AND after IS NOT NULL AND after_batch IS NULL AND NOT EXISTS (SELECT FROM unnest(r.after) a JOIN ended e ON e.id = a WHERE e.at <= r.at AND $meets) LIMIT 5}),
		'', 'and one of condition "any" after one had succeeded');
	is(value(q{SELECT r.id, s FROM released r, unnest(r.after_signal) s
		WHERE NOT EXISTS (SELECT FROM bgjob_internal.signal g WHERE g.name = s AND g.at <= r.at) LIMIT 5}), '', 'and each after its signals');
	# What a transaction does to a job of the batch, and has not committed, does not count, so this allows for some seconds.
	is(value(q{SELECT r.id, r.after_batch, m.id, l.state, l.at, r.at FROM released r
			JOIN LATERAL (WITH RECURSIVE inner_ones AS (SELECT r.after_batch AS id UNION SELECT b.id FROM bgjob_internal.batch b JOIN inner_ones i ON b.parent = i.id)
				SELECT j.id FROM bgjob_internal.job j JOIN inner_ones i ON j.batch_id = i.id) m ON true
			JOIN LATERAL (SELECT h.state, h.at FROM h WHERE h.job_id = m.id AND h.at <= r.at ORDER BY h.seq DESC LIMIT 1) l ON true
		WHERE r.condition <> 'a' AND r.after_batch IS NOT NULL AND m.id NOT IN (SELECT id FROM prepared)
			AND l.state NOT IN ('succeeded', 'failed', 'deleted') AND l.at < r.at - interval '4 s' LIMIT 5}), '', 'and after its batch');

	# Those that could not run say why, and it is true.
	value(q{CREATE TABLE hopeless AS SELECT w.*, m[1] AS what, m[2]::bigint AS culprit, m[3] AS how
		FROM went w, LATERAL (SELECT regexp_match(reason, '^Cannot run: (job|batch) (\d+) (?:was )?(\w+)$') m) x WHERE state = 'deleted' AND reason LIKE 'Cannot run: %'});
	cmp_ok(value('SELECT count(*) FROM hopeless'), '>', $nodes / 100, 'many jobs could not run');
	is(value(q{SELECT id, reason FROM hopeless WHERE what IS NULL AND reason NOT IN ('Cannot run: none of the jobs that it awaits has succeeded', 'Cannot run: it would await itself') LIMIT 5}), '', 'they name a culprit');
	is(value(q{SELECT d.id, d.reason, d.at FROM hopeless d WHERE what = 'job' AND NOT EXISTS (SELECT FROM ended e WHERE e.id = culprit AND e.state = how AND e.at <= d.at) LIMIT 5}),
		'', 'which had ended so by then');
	is(value(q{SELECT id, reason FROM went w WHERE state = 'deleted' AND reason LIKE 'Waited too long%' AND NOT EXISTS (SELECT FROM h WHERE h.job_id = w.id AND h.seq = w.seq - 1 AND h.at <= w.at - interval '1.9 s') LIMIT 5}),
		'', 'no job was deleted before its await_timeout');
	is(value(q{SELECT id, state, reason FROM went w WHERE state = 'deleted' AND reason IS NULL AND NOT EXISTS (SELECT FROM meddled m WHERE m.id = w.id AND what = 'delete') LIMIT 5}),
		'', 'and none without a reason that nobody has deleted');
	is(value(q{SELECT count(*) > 0 FROM applied}), 't', 'filters have seen their jobs');
	check_counters($node);
}

# ---- edges that were inserted before any scheduler knew of them are counted once: else each end of a parent would have the scheduler look ----
{
	my $pairs = 300;
	my $looks = q{SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_all_indexes WHERE indexrelid = 'bgjob_internal.edge_pkey'::regclass};
	my $gone = q{SELECT n_tup_del FROM pg_stat_all_tables WHERE relid = 'bgjob_internal.edge'::regclass};

	$node->append_conf('postgresql.conf', 'bgjob.enabled = off');
	$node->restart;
	value(q{SELECT bgjob_queue_pause('pairs')});
	my ($looked, $were_gone) = (value($looks), value($gone));
	# In one transaction, so that it has nothing reviewed.
	value(qq{BEGIN; CREATE TEMP TABLE parent AS SELECT id FROM bgjob_enqueue_many('SELECT 1', array_fill(NULL::jsonb, ARRAY[$pairs]), queue => 'pairs') id;
		SELECT count(bgjob_enqueue('SELECT 1', queue => 'pairs', after => ARRAY[id])) FROM parent; COMMIT});
	$node->append_conf('postgresql.conf', 'bgjob.enabled = on');
	$node->reload;
	wait_until($node, "SELECT ($looks) >= $looked + $pairs", 'a new scheduler has reviewed what awaits something');
	value(q{SELECT bgjob_queue_resume('pairs')});
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE queue = 'pairs' AND state <> 'succeeded'}, 'all have run');
	wait_until($node, "SELECT ($gone) >= $were_gone + $pairs", 'and each worker has reported what it did');
	# One look when the parent ends, one when the child does.
	my $more = value($looks) - $looked - $pairs;
	cmp_ok($more, '<', 2.5 * $pairs, "edges of $pairs pairs were looked for $more times");
	value(q{SELECT bgjob_queue_remove('pairs')});
}

load($ENV{BGJOB_RETRY} ? 0 : 1) if $nodes > 0;
$node->stop;
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)|XX000/, 'nothing has crashed but what was killed');
done_testing();
