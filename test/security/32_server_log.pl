# The server's log names the job of a message, and follows log_statement and log_min_duration_statement for jobs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('server_log', fsync => 'off', log_statement => 'none', log_line_prefix => '[%b] ');
$node->safe_psql('postgres', q{CREATE ROLE app LOGIN; CREATE DATABASE shop OWNER app});
$node->safe_psql('shop', q{CREATE EXTENSION bgjob; GRANT USAGE ON SCHEMA bgjob TO app; SELECT bgjob_queue('grouped', group_size => 10);
	GRANT CREATE ON SCHEMA public TO app; SET ROLE app;
	CREATE FUNCTION fail(n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'about to fail'; RAISE 'failed %', n; END $$;
	CREATE FUNCTION good(n int) RETURNS int LANGUAGE sql AS 'SELECT n';
	CREATE FUNCTION slow() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(0.3)';
	CREATE PROCEDURE after_commit() LANGUAGE plpgsql AS $$ BEGIN COMMIT; RAISE 'failed'; END $$;
	CREATE TABLE late (n int PRIMARY KEY, parent int REFERENCES late DEFERRABLE INITIALLY DEFERRED);
	CREATE FUNCTION fail_late() RETURNS void LANGUAGE sql AS 'INSERT INTO late VALUES (1, 2)'});
my $from = 0;

# Runs a job of app's to its end; returns its id, and what the log says since the last time.
sub run_job
{
	my ($enqueue, $state) = @_;
	my $id = $node->safe_psql('shop', "SET SESSION AUTHORIZATION app; SELECT $enqueue");

	is($node->safe_psql('shop', "SELECT bgjob_wait($id, '60 s')"), $state, "$enqueue: $state");
	# What a worker logs of a job's end comes after the commit: the worker is idle then.
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.workers WHERE state = 'busy'}, 'its worker is idle', 20, 'shop');
	my $log = substr slurp_file($node->logfile), $from;
	$from += length $log;
	return ($id, $log);
}

# The context of an error names job, role and database, in the log and in the job's error.
sub names_job
{
	my ($enqueue, $title, $message) = @_;
	my ($id, $log) = run_job($enqueue, 'failed');
	my $line = qq{bgjob job $id ($title), role "app", database "shop"};

	like($log, qr/\[bgjob worker\] ERROR:  \Q$message\E.*\n(?:\[bgjob worker\] (?:DETAIL|HINT|QUERY):.*\n)*\[bgjob worker\] CONTEXT:  (?:.*\n\t)*\Q$line\E\n/, 'the context of the message names the job');
	is($node->safe_psql('shop', "SELECT right(error ->> 'context', length('$line')) FROM bgjob.jobs WHERE id = $id"), $line, 'the error of the job has the same context');
	return $log;
}

my $log = names_job(q{bgjob_enqueue('fail', '[1]', max_retries => 0)}, 'fail', 'failed 1');
like($log, qr/WARNING:  about to fail\n\[bgjob worker\] CONTEXT:  (?:.*\n\t)*bgjob job \d+ \(fail\), role "app", database "shop"/, 'a warning likewise');
names_job(q{bgjob_enqueue('fail', '[2]', queue => 'grouped', max_retries => 0)}, 'fail', 'failed 2');
names_job(q{bgjob_enqueue('SELECT 1/0', kind => 'sql', max_retries => 0)}, 'SELECT 1/0', 'division by zero');
names_job(q{bgjob_enqueue('SELECT 1/0', kind => 'sql', queue => 'grouped', max_retries => 0)}, 'SELECT 1/0', 'division by zero');
names_job(q{bgjob_enqueue('VACUUM nowhere', kind => 'sql', max_retries => 0)}, 'VACUUM nowhere', 'relation "nowhere" does not exist');
names_job(q{bgjob_enqueue('after_commit', max_retries => 0)}, 'after_commit', 'failed');
names_job(q{bgjob_enqueue('fail_late', max_retries => 0)}, 'fail_late', 'insert or update on table "late" violates foreign key constraint');
names_job(q{bgjob_enqueue('fail_late', queue => 'grouped', max_retries => 0)}, 'fail_late', 'insert or update on table "late" violates foreign key constraint');
$node->safe_psql('shop', q{CREATE FUNCTION refuse(j jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'the filter fails'; END $$;
	SELECT bgjob_filter('refuse', 'performing', 'refuse', jobs => 'good')});
names_job(q{bgjob_enqueue('good', '[1]', max_retries => 0)}, 'good', 'the filter fails');
$node->safe_psql('shop', q{SELECT bgjob_filter_remove('refuse')});

# log_statement
set_and_reload($node, log_statement => 'ddl');
wait_until($node, q{SELECT current_setting('log_statement') = 'ddl'}, 'log_statement = ddl');
my $of_worker = sub { join ' ', map { s/^duration: [\d.]+ ms/duration/r } $_[0] =~ /^\[bgjob worker\] (?:LOG:  |(?=DETAIL))(.*)$/mg };
for ([ 'ddl', q{bgjob_enqueue('CREATE TABLE audited (n int)', kind => 'sql')}, 'statement: CREATE TABLE audited (n int)' ],
	[ 'ddl', q{bgjob_enqueue('CREATE INDEX CONCURRENTLY ON audited (n)', kind => 'sql')}, 'statement: CREATE INDEX CONCURRENTLY ON audited (n)' ],
	[ 'ddl', q{bgjob_enqueue('INSERT INTO audited VALUES (1)', kind => 'sql')}, '' ],
	[ 'mod', q{bgjob_enqueue('INSERT INTO audited VALUES ($1)', '[2]', kind => 'sql')}, 'statement: INSERT INTO audited VALUES ($1) DETAIL:  parameters: [2]' ],
	[ 'mod', q{bgjob_enqueue('INSERT INTO audited VALUES (3)', kind => 'sql', queue => 'grouped')}, 'statement: INSERT INTO audited VALUES (3)' ],
	[ 'mod', q{bgjob_enqueue('SELECT 1', kind => 'sql')}, '' ],
	[ 'mod', q{bgjob_enqueue('good', '[1]')}, '' ],
	[ 'all', q{bgjob_enqueue('SELECT 1', kind => 'sql')}, 'statement: SELECT 1' ],
	[ 'all', q{bgjob_enqueue('good', '[7]')}, 'statement: job %d: public.good(integer) DETAIL:  parameters: [7]' ],
	[ 'all', q{bgjob_enqueue('good', '[7]', queue => 'grouped')}, 'statement: job %d: public.good(integer) DETAIL:  parameters: [7]' ])
{
	my ($level, $enqueue, $lines) = @$_;
	set_and_reload($node, log_statement => $level);
	wait_until($node, "SELECT current_setting('log_statement') = '$level'", "log_statement = $level");
	# Workers read it before their next job.
	my ($id, $text) = run_job($enqueue, 'succeeded');
	is($of_worker->($text), $lines =~ s/%d/$id/r, 'the lines that the job logs');
	like($text, qr/LOG:  statement: .*\n(?:.*DETAIL:.*\n)?.*CONTEXT:  bgjob job $id .*, role "app", database "shop"/, 'the context of these lines names the job') if $lines;
}
my ($erroneous, $text) = run_job(q{bgjob_enqueue('SELECT 1 FROM nowhere', kind => 'sql', max_retries => 0)}, 'failed');
like($text, qr/LOG:  statement: SELECT 1 FROM nowhere\n/, 'a failed statement is logged');

# log_min_duration_statement and its kin
set_and_reload($node, log_statement => 'none', log_min_duration_statement => '200ms');
wait_until($node, q{SELECT current_setting('log_min_duration_statement') = '200ms'}, 'log_min_duration_statement');
for ([ q{bgjob_enqueue('slow')}, 'duration  statement: job %d: public.slow()' ],
	[ q{bgjob_enqueue('slow', queue => 'grouped')}, 'duration  statement: job %d: public.slow()' ],
	[ q{bgjob_enqueue('SELECT pg_sleep(0.3)', kind => 'sql')}, 'duration  statement: SELECT pg_sleep(0.3)' ],
	[ q{bgjob_enqueue('DO $$BEGIN COMMIT; PERFORM pg_sleep(0.3); END$$', kind => 'sql')}, 'duration  statement: DO $$BEGIN COMMIT; PERFORM pg_sleep(0.3); END$$' ],
	[ q{bgjob_enqueue('good', '[1]')}, '' ])
{
	my ($enqueue, $lines) = @$_;
	my ($id, $text) = run_job($enqueue, 'succeeded');
	is($of_worker->($text), $lines =~ s/%d/$id/r, 'the lines that the call logs');
}
# A role's own value holds for its jobs, and what is logged already is not repeated.
set_and_reload($node, log_min_duration_statement => '-1');
$node->safe_psql('postgres', q{ALTER ROLE app SET log_statement = 'all'; ALTER ROLE app SET log_duration = on});
$node->safe_psql('shop', q{SELECT count(pg_terminate_backend(pid)) FROM bgjob.workers});
wait_until($node, q{SELECT count(*) = 0 FROM bgjob.workers}, 'the workers leave', 20, 'shop');
my ($id, $both) = run_job(q{bgjob_enqueue('good', '[1]')}, 'succeeded');
is($of_worker->($both), "statement: job $id: public.good(integer) DETAIL:  parameters: [1] duration", 'settings of the role');

# auto_explain has the statements of jobs.
SKIP:
{
	skip 'no auto_explain', 6 unless glob $node->config_data('--pkglibdir') . '/auto_explain.*';
	$node->safe_psql('postgres', q{ALTER ROLE app RESET ALL});
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'bgjob, auto_explain'\nauto_explain.log_min_duration = 0");
	$node->restart;
	$from = -s $node->logfile;
	$node->safe_psql('shop', q{SET SESSION AUTHORIZATION app; CREATE FUNCTION reads() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM late); END'});
	like((run_job($_, 'succeeded'))[1], qr/LOG:  duration: .* plan:\n\tQuery Text: \(?SELECT count\(\*\) FROM late.*\n(?:\t.*\n)*.*CONTEXT:  (?:.*\n\t)*bgjob job \d+ /, "auto_explain: $_")
		for q{bgjob_enqueue('SELECT count(*) FROM late', kind => 'sql')}, q{bgjob_enqueue('reads')};
}
check_counters($node, 'shop');
$node->stop;
done_testing();
