# What a client would be shown while a job runs is in the log of the job: which messages, in which order, whatever becomes
# of the attempt, within its bounds. Nothing of it makes a job fail, and the log of the server stays as it is.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('job_messages', fsync => 'off', log_statement => 'none');
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE stranger LOGIN; CREATE ROLE latin LOGIN; ALTER ROLE latin SET client_encoding = 'LATIN1';
	CREATE ROLE quiet LOGIN; ALTER ROLE quiet SET client_min_messages = 'warning';
	GRANT USAGE ON SCHEMA bgjob TO app, stranger, latin, quiet;
	SELECT bgjob_queue('grouped', group_size => 10);
	CREATE FUNCTION talk(fails bool) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		PERFORM bgjob_log('one');
		RAISE NOTICE 'two' USING DETAIL = 'of it', HINT = 'for it';
		PERFORM bgjob_log('three', 'error');
		RAISE WARNING 'four'; RAISE INFO 'five'; RAISE LOG 'not for clients'; RAISE DEBUG 'nor this';
		IF fails THEN RAISE 'it fails'; END IF;
		END $$;
	CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'before'; COMMIT; RAISE NOTICE 'after'; RAISE 'fails'; END $$;
	CREATE FUNCTION caught() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		BEGIN RAISE NOTICE 'rolled back'; PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN RAISE NOTICE 'went on'; END; END $$;
	CREATE TABLE t (n int);
	CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'at commit %', NEW.n; RETURN NULL; END $$;
	CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit();
	GRANT ALL ON t TO app;
	CREATE FUNCTION euro(fails bool) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
		RAISE NOTICE '20 €';
		IF fails THEN RAISE '30 €'; END IF;
		RETURN current_setting('client_encoding') || pg_client_encoding(); END $$;
	CREATE FUNCTION euro_latin() RETURNS text SET client_encoding = 'LATIN1' LANGUAGE plpgsql AS $$ BEGIN
		RAISE NOTICE '40 €'; RETURN pg_client_encoding(); END $$;
	CREATE FUNCTION detailed() RETURNS void SET client_min_messages = 'debug1' LANGUAGE plpgsql AS $$ BEGIN RAISE DEBUG 'a detail'; RAISE LOG 'a line'; END $$;
	CREATE FUNCTION flood(n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. n LOOP RAISE NOTICE 'message %', i; END LOOP; PERFORM bgjob_log('at the end'); END $$;
	CREATE FUNCTION huge() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', repeat('é', 5000000); RAISE NOTICE 'more'; END $$;
	CREATE FUNCTION copies() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'COPY t TO STDOUT'; END $$;
	CREATE FUNCTION nothing() RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION filter(j jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'secret of the filter'; RETURN NULL; END $$;
	SELECT bgjob_filter('tells', 'performing', 'filter', jobs => 'nothing')});

# Runs a job to its end; returns its id.
sub run_job
{
	my ($enqueue, $state, $role) = @_;
	my $id = $node->safe_psql('postgres', 'SET SESSION AUTHORIZATION ' . ($role // 'app') . "; SELECT $enqueue");

	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), $state, "$enqueue: $state");
	return $id;
}

sub lines
{
	my ($id) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(concat_ws(' ', level, replace(message, E'\\n', ' | ')), ', ' ORDER BY seq) FROM bgjob.job_logs WHERE job_id = $id");
}

# Which, and in which order; kept whatever becomes of the job.
my $talk = 'info one, notice two | DETAIL:  of it | HINT:  for it, error three, warning four, info five';
is(lines(run_job(q{bgjob_enqueue('talk', '[false]')}, 'succeeded')), $talk, 'notices are among the lines of bgjob_log');
is(lines(run_job(q{bgjob_enqueue('talk', '[true]', max_retries => 0)}, 'failed')), $talk, 'a failed job has them');
is(lines(run_job(q{bgjob_enqueue('talk', '[false]', queue => 'grouped')}, 'succeeded')), $talk, 'a job of a group has them');
is(lines(run_job(q{bgjob_enqueue('talk', '[true]', queue => 'grouped', max_retries => 0)}, 'failed')), $talk, 'a failed job of a group has them');
$node->safe_psql('postgres', q{SELECT bgjob_configure('talk', max_retries => 1, retry_delays => '{0}')});
is(lines(run_job(q{bgjob_enqueue('talk', '[true]')}, 'failed')), "$talk, $talk", 'each attempt has them');
is(lines(run_job(q{bgjob_enqueue('commits', max_retries => 0)}, 'failed')), 'notice before, notice after', 'a procedure, before and after a commit');
is(lines(run_job(q{bgjob_enqueue('caught')}, 'succeeded')), 'notice rolled back, notice went on', 'those of a subtransaction that was rolled back');
is(lines(run_job(q{bgjob_enqueue('CREATE TABLE IF NOT EXISTS t (n int)', kind => 'sql')}, 'succeeded', 'postgres')), 'notice relation "t" already exists, skipping', 'a command');
like(lines(run_job(q{bgjob_enqueue('VACUUM VERBOSE t', kind => 'sql')}, 'succeeded', 'postgres')), qr/^info vacuuming "postgres.public.t", info finished vacuuming/, 'VACUUM VERBOSE');
is(lines(run_job(qq{bgjob_enqueue('INSERT INTO t VALUES (7)', kind => 'sql'$_)}, 'succeeded')), 'notice at commit 7', "a deferred trigger$_") for '', q{, queue => 'grouped'};
is(lines(run_job(q{bgjob_enqueue('nothing')}, 'succeeded')), '', 'a filter tells the job nothing');

# client_min_messages decides.
is(lines(run_job(q{bgjob_enqueue('talk', '[false]')}, 'succeeded', 'quiet')), 'info one, error three, warning four, info five', 'client_min_messages of the role');
like(lines(run_job(q{bgjob_enqueue('detailed')}, 'succeeded')), qr/debug a detail, log a line/, 'client_min_messages of the function');
is(lines(run_job(q{bgjob_enqueue('talk', '[false]')}, 'succeeded')), $talk, 'and it does not outlive the job');

# The encoding of a client that is not there does no harm, and stays what it is for the job.
is(lines(my $latin = run_job(q{bgjob_enqueue('euro', '[false]')}, 'succeeded', 'latin')), 'notice 20 €', 'a character that the client encoding of the role lacks');
is($node->safe_psql('postgres', "SELECT bgjob_result($latin)"), '"LATIN1LATIN1"', 'the job has the encoding of the role');
is(lines(run_job(q{bgjob_enqueue('euro', '[true]', max_retries => 0)}, 'failed', 'latin')), 'notice 20 €', 'such a character in an error');
is(lines(run_job(q{bgjob_enqueue('euro', '[true]', queue => 'grouped', max_retries => 0)}, 'failed', 'latin')), 'notice 20 €', 'the same in a group');
is(lines($latin = run_job(q{bgjob_enqueue('euro_latin')}, 'succeeded')), 'notice 40 €', 'a character that the client encoding of the function lacks');
is($node->safe_psql('postgres', "SELECT bgjob_result($latin)"), '"LATIN1"', 'the function has its encoding');

# Bounds.
my $flood = run_job(q{bgjob_enqueue('flood', '[100000]')}, 'succeeded');
is($node->safe_psql('postgres', "SELECT count(*), string_agg(message, ', ' ORDER BY seq) FILTER (WHERE seq NOT BETWEEN 3 AND 999) FROM bgjob.job_logs WHERE job_id = $flood"),
	'1002|message 1, message 2, message 1000, at the end, 99000 more messages were left out', 'a flood of notices: 1000 are kept, the rest is counted');
is(lines(run_job(q{bgjob_enqueue('talk', '[false]')}, 'succeeded')), $talk, 'the next job has its own');
my $huge = run_job(q{bgjob_enqueue('huge')}, 'succeeded');
is($node->safe_psql('postgres', "SELECT string_agg(octet_length(message) || ' ' || left(message, 6), ', ' ORDER BY seq) FROM bgjob.job_logs WHERE job_id = $huge"),
	'262144 éééééé, 27 1 more', 'a huge one is cut between two characters');

# Messages of libraries: bytes that are no characters, and where nothing may fail.
$node->safe_psql('postgres', 'CREATE EXTENSION crashme');
is(lines(run_job(q{bgjob_enqueue('crashme_warn')}, 'succeeded', $_)), 'warning caf?, warning 1 more message was left out', "bytes that are no characters, role $_") for 'app', 'latin';
is(lines(run_job(q{bgjob_enqueue('euro', '[false]')}, 'succeeded', 'latin')), 'notice 20 €', 'the next job of the role has its encoding');

# There is no client for anything else.
run_job(q{bgjob_enqueue('copies', max_retries => 0)}, 'failed');
my $share = $node->config_data('--sharedir') . '/extension/job_copies';
my %script = ("$share.control" => "default_version = '1.0'\n", "$share--1.0.sql" => "CREATE TABLE job_copies (n int);\nCOPY job_copies FROM STDIN;\n");
for my $file (keys %script) { open(my $out, '>', $file) or die "$file: $!"; print $out $script{$file}; }
my $copies = run_job(q{bgjob_enqueue('CREATE EXTENSION job_copies', kind => 'sql', max_retries => 0)}, 'failed', 'postgres');
unlink keys %script;
is($node->safe_psql('postgres', "SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = $copies"), '0A000', 'a script of an extension that copies from a client fails');

# A worker that ends in the middle.
for my $how ('TERM', 'KILL')
{
	my $id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('DO $$ BEGIN RAISE NOTICE ''alive''; PERFORM pg_sleep(600); END $$', kind => 'sql')});
	wait_until($node, "SELECT count(*) = 1 FROM bgjob.job_logs WHERE job_id = $id", 'the line is seen while the job runs');
	my $pid = $node->safe_psql('postgres', "SELECT worker_pid FROM bgjob.jobs WHERE id = $id");
	if ($how eq 'TERM') { $node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)"); }
	else { $node->safe_psql('postgres', "SELECT bgjob_delete($id)"); }
	wait_until($node, $how eq 'TERM' ? "SELECT count(*) >= 1 AND bool_or(j.interruptions = 1 OR j.state = 'failed') FROM bgjob.job_logs l JOIN bgjob.jobs j ON j.id = l.job_id WHERE j.id = $id"
		: "SELECT count(*) = 1 AND bool_and(j.state = 'deleted') FROM bgjob.job_logs l JOIN bgjob.jobs j ON j.id = l.job_id WHERE j.id = $id", 'it is kept when the attempt is ended');
	$node->safe_psql('postgres', "SELECT bgjob_delete($id)") if $how eq 'TERM';
}

# Who may see the job sees its log.
is($node->safe_psql('postgres', "SET SESSION AUTHORIZATION stranger; SELECT count(*) FROM bgjob.job_logs WHERE job_id = $flood"), '0', 'another role sees none of it');
isnt($node->safe_psql('postgres', "SET SESSION AUTHORIZATION app; SELECT count(*) FROM bgjob.job_logs WHERE job_id = $flood"), '0', 'the role of the job does');

my $log = slurp_file($node->logfile);
unlike($log, qr/NOTICE:|INFO:|DEBUG:/, 'the log of the server has no notices');
like($log, qr/WARNING:  four\n/, 'it has warnings');
unlike($log, qr/PANIC|TRAP|FATAL|terminated by signal/, 'no process came to harm');
check_counters($node);
$node->stop;
done_testing();
