# bgjob-worker: what handlers see, and what comes of jobs: one handler for each job, and persistent ones. The
# options, and the exit codes at the start.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use BgjobWorker;
use PostgreSQL::Test::Utils;
use Test::More;

my $top  = "$FindBin::RealBin/../..";
my $node = bgjob_cluster('worker', 'bgjob.workers' => 1, max_connections => 50);
worker_on($node);

# ---- the documents ----

my %options = map {
	my $text = $_;
	my $output = $text eq 'help' ? `bgjob-worker --help` : slurp_file("$top/doc/man/bgjob-worker.1");
	$output =~ s/\\//g;
	my %seen = map { $_ => 1 } $output =~ /(?<![\w-])--([a-z][a-z-]+)/g;
	($text => join ' ', sort keys %seen);
} qw(help man);
my ($listed) = slurp_file("$top/src/worker/config.c") =~ /struct option options\[\] = \{(.*?)\n\};?/s;
is($options{help}, join(' ', sort $listed =~ /\{"([a-z-]+)"/g), '--help shows the options');
is($options{man}, $options{help}, 'the manual page has them, too');
like(`bgjob-worker --version`, qr/^bgjob-worker \(bgjob\) 1\.0$/, '--version shows the version');

# ---- exit codes at the start ----

my $true = '/bin/true';
value('CREATE DATABASE empty');
value(q{CREATE ROLE secretive LOGIN PASSWORD 'right'});
foreach my $case (
	[ 64, [],                             [],           qr/no handler is given/,                     'no handler' ],
	[ 64, [ '--concurrency', 0 ],         [$true],      qr/invalid value "0" for option --conc/,     'a wrong value' ],
	[ 64, [ '--lease', '5 weeks' ],       [$true],      qr/invalid value "5 weeks" for option/,      'a wrong unit' ],
	[ 64, ['--nonsense'],                 [$true],      qr/--help/,                                  'an unknown option' ],
	[ 64, [ '--labels', '1=2' ],          [$true],      qr/invalid value "1=2"/,                     'a wrong label' ],
	[ 64, [ '--name', 'x' x 64 ],         [$true],      qr/for option --name/,                       'a name that is too long' ],
	[ 64, [ '-d', 'postgresql://[x/y' ],  [$true],      qr/error/,                                   'a wrong URI' ],
	[ 78, [],                             ['/nowhere'], qr/"\/nowhere" cannot be executed/,          'a handler that does not exist' ],
	[ 78, [ '-d', $node->connstr('no') ], [$true],      qr/database "no" does not exist/,            'a database that does not exist' ],
	[ 78, [ '--queue', 'No Queue' ],      [$true],      qr/cannot fetch jobs/,                       'a queue that cannot be' ],
	[ 76, [ '-d', $node->connstr('empty') ], [$true],   qr/extension "bgjob" is not installed in database "empty"/, 'no extension' ],
	[ 69, [ '--once', '-d', 'host=/nowhere' ], [$true], qr/could not connect/,                       '--once without a server' ],
  )
{
	my ($expected, $given, $handler, $pattern, $what) = @$case;
	my ($code, $log) = run_worker($given, @$handler);

	is($code, $expected, "$what: exit code");
	like($log, $pattern, "$what: the log says so");
}

$node->append_conf('pg_hba.conf', 'x');
{
	my $hba = $node->data_dir . '/pg_hba.conf';
	my $before = slurp_file($hba) =~ s/^x$//mr;

	open my $file, '>', $hba or die $!;
	print $file "local all secretive scram-sha-256\n$before";
	close $file;
	$node->reload;
	my $connstr = $node->connstr('postgres');
	my ($code, $log) = run_worker([ '-d', "$connstr user=secretive password=wrongone", '--once' ], $true);
	is($code, 77, 'a wrong password: exit code');
	like($log, qr/password authentication failed/, 'a wrong password: the log says so');
	unlike($log, qr/wrongone|28P01|LOCATION/, 'but not the password');
	($code, $log) = run_worker([ '-d', "$connstr user=secretive", '-w', '--once' ], $true);
	is($code, 77, 'no password: exit code');
	($code, $log) = run_worker([ '-d', "$connstr user=secretive password=right", '--once' ], $true);
	is($code, 77, 'a role without rights on bgjob: exit code') || diag($log);
	value('GRANT USAGE ON SCHEMA bgjob TO secretive');
	my $worker = start_worker([ '-d', "$connstr user=secretive password=right" ], $true);
	until_logged($worker, qr/connected to database/, 'with the right one it connects');
	unlike(slurp_file("/proc/$worker->{pid}/cmdline"), qr/right/, 'the list of processes does not show the password');
	end_worker($worker);
	unlike(logged($worker), qr/right\b(?!s)/, 'and the log does not');
}

# Another protocol. The function is replaced in a transaction-proof way: by a database of its own.
$node->safe_psql('empty', 'CREATE EXTENSION bgjob');
$node->safe_psql('empty', q{ALTER EXTENSION bgjob DROP FUNCTION bgjob_protocol(); CREATE OR REPLACE FUNCTION bgjob_protocol() RETURNS int LANGUAGE sql AS 'SELECT 9'});
{
	my ($code, $log) = run_worker([ '-d', $node->connstr('empty') ], $true);

	is($code, 76, 'another protocol: exit code');
	like($log, qr/the extension speaks protocol 9, this program 1/, 'another protocol: the log says so');
}

# ---- a handler for each job ----

my $handler = script(<<'EOT');
#!/bin/bash
case $BGJOB_JOB in
echo) cat ;;
env) printf '{"id": "%s", "job": "%s", "queue": "%s", "attempt": "%s", "deadline": "%s", "lease": "%s", "parameters": %s, "trace": "%s", "worker": "%s", "slot": "%s", "labels": "%s", "fd": "%s", "protocol": "%s", "mine": "%s"}' \
	"$BGJOB_ID" "$BGJOB_JOB" "$BGJOB_QUEUE" "$BGJOB_ATTEMPT" "$BGJOB_DEADLINE" "$BGJOB_LEASE_UNTIL" "$BGJOB_PARAMETERS" "$TRACEPARENT" "$BGJOB_WORKER" "$BGJOB_SLOT" "$BGJOB_LABELS" "$BGJOB_FD" "$BGJOB_PROTOCOL" "$BGJOB_MINE" ;;
silent) ;;
code) exit "$(cat)" ;;
says) echo "first line" >&2; printf 'no good \377\n\n' >&2; exit 3 ;;
signal) kill -9 $$ ;;
broken) echo '{"a": 1' ;;
more) echo '1 2' ;;
nul) echo '"\u0000"' ;;
big) head -c 10000000 /dev/zero | tr '\0' x | sed 's/.*/"&"/' ;;
deaf) exec <&-; echo 1 ;;
mute) exec >&-; sleep 0.1; exit 0 ;;
flood) seq 1 200000 >&2; echo '"done"' ;;
fork) sleep 1000 & echo $! ;;
notes) echo '{"progress": 12.5, "message": "a part"}' >&3; echo 'plain' >&$BGJOB_FD; echo '{"log": "careful", "level": "warning"}' >&3; echo '{"progress": 200}' >&3; echo 'on stderr' >&2; echo '{nonsense' >&3 ;;
*) exit 69 ;;
esac
EOT
my $one = sub { my @job = @_; my $id = enqueue(@job); return $id };
my $worker = start_worker([ '--concurrency', 4, '--labels', 'zone=a,rack=7', '--log-lines', 5, '--max-output', '20MB', '--unknown-delay', '1h' ], $handler);
my $exact = '{"n": 12345678901234567890.12345678901234567890, "t": "\u00e4 \"quoted\" \\\\"}';

{
	local $ENV{BGJOB_MINE} = 'x';
	my $id = $one->('echo', $exact, 'max_retries => 0');
	ended($id, 'succeeded|' . value("SELECT '$exact'::jsonb"), 'arguments and results keep every digit');
	is(value("SELECT server FROM bgjob.jobs WHERE id = $id"), $worker->{name}, 'the job shows its worker');
	ended($one->('echo'), 'succeeded|null', 'no arguments are null');
	ended($one->('silent', '1'), 'succeeded', 'no output is no result');
	is(value(qq{SELECT result IS NULL FROM bgjob.jobs WHERE job = 'silent'}), 't', 'and not a null in JSON');

	my $trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
	$id = $one->('env', undef, qq{queue => 'images', timeout => '1 h', parameters => '{"traceparent": "$trace", "x": 1.50}'});
	wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $id", 'a handler with parameters succeeds');
	is(value(qq{SELECT concat_ws(' ', r ->> 'id' = '$id', r ->> 'job', r ->> 'queue', r ->> 'attempt', r ->> 'parameters', r ->> 'trace', r ->> 'worker', r ->> 'labels', r ->> 'fd', r ->> 'protocol', r ->> 'mine',
			(r ->> 'lease')::timestamptz BETWEEN started_at + '4 min' AND started_at + '6 min', (r ->> 'slot')::int BETWEEN 0 AND 3, abs(extract(epoch FROM (r ->> 'deadline')::timestamptz - started_at - '1 h')) < 1)
			FROM (SELECT result AS r, started_at FROM bgjob.jobs WHERE id = $id) x}),
		qq(t env images 1 {"x": 1.50, "traceparent": "$trace"} $trace $worker->{name} zone=a,rack=7 3 1  t t t), 'its environment describes the job');
}

ended($one->('code', '0', 'max_retries => 0'), 'succeeded', 'exit code 0: success');
ended($one->('code', '65', 'max_retries => 3'), 'failed|the handler exited with code 65', 'exit code 65: no retry');
ended($one->('code', '75', 'max_retries => 3'), 'scheduled|the handler exited with code 75', 'exit code 75: a retry');
ended($one->('code', '1', 'max_retries => 3'), 'scheduled|the handler exited with code 1', 'another exit code: a retry, too');
ended($one->('code', '1', 'max_retries => 0'), 'failed|the handler exited with code 1', 'or none, if the policy says so');
ended($one->('says', undef, 'max_retries => 0'), "failed|first line\nno good \x{ef}\x{bf}\x{bd}", 'the end of standard error is the message');
is(value(q{SELECT error ->> 'detail' FROM bgjob.jobs WHERE job = 'says'}), 'the handler exited with code 3', 'the exit code is the detail');
ended($one->('signal', undef, 'max_retries => 0'), 'failed|the handler was terminated by signal 9: Killed', 'a handler that a signal ends has failed');
ended($one->('broken', undef, 'max_retries => 0'), 'failed|the output of the handler is not JSON: the text ends early', 'output that is no JSON is a failure');
ended($one->('more', undef, 'max_retries => 0'), 'failed|the output of the handler is not JSON: something follows the value', 'so are two values');
like(value('SELECT error ->> \'message\' FROM bgjob.jobs WHERE id = ' . finished($one->('nul', undef, 'max_retries => 0'))), qr/^the result cannot be stored: unsupported Unicode escape sequence/,
	'a result that the database cannot store is a failure');
is(value('SELECT state || length(result #>> \'{}\') FROM bgjob.jobs WHERE id = ' . finished($one->('big'))), 'succeeded10000000', 'a result of 10 MB arrives');
value('CREATE TABLE large AS SELECT jsonb_build_array(repeat(\'y\', 10000000)) AS args');
is(value('SELECT state FROM bgjob.jobs WHERE id = ' . finished(value(q{SELECT bgjob_enqueue('echo', (SELECT args FROM large), kind => 'external')}))), 'succeeded', 'arguments of 10 MB arrive');
is(value(q{SELECT count(*) FROM bgjob.jobs, large WHERE result = large.args}), 1, 'unchanged');
is(value('SELECT state FROM bgjob.jobs WHERE id = ' . finished(value(q{SELECT bgjob_enqueue('deaf', (SELECT args FROM large), kind => 'external')}))), 'succeeded', 'a handler need not read its arguments');
ended($one->('mute'), 'succeeded', 'a handler may close its output early');
my $flood = finished($one->('flood'));
is(value("SELECT state || ' ' || result FROM bgjob.jobs WHERE id = $flood"), 'succeeded "done"', 'a handler that floods its standard error succeeds');
is(value("SELECT string_agg(level || ' ' || message, ', ' ORDER BY seq) FROM bgjob.job_logs WHERE job_id = $flood"),
	'info 1, info 2, info 3, info 4, info 5, warning 199995 more lines were not kept', 'its log is bounded, and says so');
my $child = value('SELECT result FROM bgjob.jobs WHERE id = ' . finished($one->('fork')));
until_true(sub { !kill 0, $child }, 'what a handler leaves behind is killed');
my $notes = finished($one->('notes'));
is(value("SELECT concat_ws(' ', state, progress, progress_message) FROM bgjob.jobs WHERE id = $notes"), 'succeeded 12.5 a part', 'progress by the descriptor');
is(value(qq{SELECT string_agg(level || ' ' || message, ', ' ORDER BY message COLLATE "C") FROM bgjob.job_logs WHERE job_id = $notes}), 'warning careful, info on stderr, info plain, info {nonsense',
	'log lines by the descriptor');
my $unknown = $one->('unheard', '1');
ended($unknown, 'scheduled', 'a job that the handler does not know is given back with a delay');
is(value("SELECT concat_ws(' ', retries, run_at > now() + '50 min') FROM bgjob.jobs WHERE id = $unknown"), '0 t', 'no retry is used');
until_logged($worker, qr/WARNING: .*the handler does not know "unheard"/, 'with a warning');
end_worker($worker);

# ---- persistent handlers ----

my $persistent = script(<<'EOT');
#!/usr/bin/perl
use strict;
$| = 1;
my $count = 0;
open my $notes, '>&=', $ENV{BGJOB_FD};
select((select($notes), $| = 1)[0]);
while (my $line = <STDIN>)
{
	my ($id, $job) = $line =~ /^\{"id":(\d+),"job":"(\w+)"/ or die $line;
	$count++;
	if ($job eq 'whole') { $line =~ s/\s+$//; print qq({"id":$id,"result":$line}\n); }
	elsif ($job eq 'count') { print qq({"id":$id,"result":[$$,$count]}\n); }
	elsif ($job eq 'nothing') { print qq({"id":$id}\n); }
	elsif ($job eq 'jsonnull') { print qq( {"result" : null , "id" : $id }\r\n\n); }
	elsif ($job eq 'error') { print qq({"id":$id,"error":"bad \\u00e4 \\ud83d\\ude00","retry":false,"detail":{"sqlstate":"22023","hint":"do not"}}\n); }
	elsif ($job eq 'retry') { print qq({"id":$id,"error":{"code":1}}\n); }
	elsif ($job eq 'later') { print qq({"id":$id,"release":3600}\n); }
	elsif ($job eq 'unheard') { print qq({"id":$id,"release":true}\n); }
	elsif ($job eq 'nonsense') { print "nonsense\n"; }
	elsif ($job eq 'other') { print qq({"id":999999}\n); }
	elsif ($job eq 'twice') { print qq({"id":$id}\n{"id":$id}\n); }
	elsif ($job eq 'dies') { print STDERR "dying\n"; exit 3; }
	elsif ($job eq 'leaves') { exit 0; }
	elsif ($job eq 'data') { exit 65; }
	elsif ($job eq 'gone') { exit 69; }
	elsif ($job eq 'last') { print qq({"id":$id,"result":"last"}\n); exit 0; }
	elsif ($job eq 'shut') { close STDOUT; sleep 1000; }
	elsif ($job eq 'notes') { print $notes qq({"progress": 50}\n); print STDERR "careful\n"; print qq({"id":$id}\n); }
	elsif ($job !~ /^huge$/) { print qq({"id":$id,"release":3600}\n); }
	else { print qq({"id":$id,"result":"), 'z' x 3000000, qq("}\n); }
}
EOT
# Retries and jobs that were given back do not come up meanwhile.
value("SELECT bgjob_delete(id) FROM bgjob.jobs WHERE state = 'scheduled'");
$worker = start_worker([ '--persistent', '--concurrency', 1, '--kill-after', '1s', '--max-output', '2MB' ], $persistent);
ended($one->('nothing'), 'succeeded', 'persistent: a success without a result');
my $whole = finished($one->('whole', $exact, q(queue => 'images', parameters => '{"k": [1.0]}')));
is(value(qq{SELECT concat_ws(' ', result -> 'args' = '$exact', result #>> '{args,n}', result ->> 'queue', result ->> 'attempt', result -> 'parameters', result -> 'deadline', (result ->> 'lease_until')::timestamptz > started_at)
	FROM bgjob.jobs WHERE id = $whole}), 't 12345678901234567890.12345678901234567890 images 1 {"k": [1.0]} null t', 'persistent: the line describes the job');
my ($pid, $count) = value('SELECT result FROM bgjob.jobs WHERE id = ' . finished($one->('count'))) =~ /(\d+), (\d+)/;
is($count, 3, 'persistent: one process for several jobs');
ended($one->('jsonnull'), 'succeeded|null', 'persistent: space and empty lines do no harm');
ended($one->('error', undef, 'max_retries => 3'), "failed|bad \x{c3}\x{a4} \x{f0}\x{9f}\x{98}\x{80}", 'persistent: an error without a retry');
is(value(q{SELECT concat_ws(' ', error ->> 'sqlstate', error ->> 'hint') FROM bgjob.jobs WHERE job = 'error'}), '22023 do not', 'persistent: its detail');
ended($one->('retry', undef, 'max_retries => 3'), 'scheduled|{"code":1}', 'persistent: an error that is no string, with a retry');
my $later = $one->('later');
ended($later, 'scheduled', 'persistent: a job is given back');
is(value("SELECT concat_ws(' ', retries, run_at > now() + '50 min') FROM bgjob.jobs WHERE id = $later"), '0 t', 'persistent: with the delay, without a retry');
ended($one->('unheard'), 'scheduled', 'persistent: an unknown job');
ended($one->('nonsense', undef, 'max_retries => 0'), 'failed|the handler has broken the protocol: a line is no JSON object', 'persistent: a line that is no JSON');
ended($one->('other', undef, 'max_retries => 0'), 'failed|the handler has broken the protocol: an answer to another job', 'persistent: an answer to another job');
ended($one->('twice'), 'succeeded', 'persistent: the first of two answers counts');
ended($one->('dies', undef, 'max_retries => 0'), 'failed|dying', 'persistent: a handler that exits has failed');
ended($one->('leaves', undef, 'max_retries => 0'), 'failed|the handler exited with code 0', 'persistent: also with 0');
ended($one->('data', undef, 'max_retries => 3'), 'failed|the handler exited with code 65', 'persistent: 65 is not retried');
ended($one->('gone'), 'scheduled', 'persistent: 69 is an unknown job');
ended($one->('last'), 'succeeded|"last"', 'persistent: an answer before the exit counts');
ended($one->('shut', undef, 'max_retries => 0'), 'failed|the handler has closed its output', 'persistent: a handler that closes its output is ended');
ended($one->('huge', undef, 'max_retries => 0'), 'failed|the output of the handler is larger than --max-output', 'persistent: output that is too large');
$notes = finished($one->('notes'));
is(value("SELECT concat_ws(' ', state, progress, (SELECT string_agg(message, ',') FROM bgjob.job_logs WHERE job_id = $notes)) FROM bgjob.jobs WHERE id = $notes"), 'succeeded 50 careful',
	'persistent: progress and log belong to the job');
my ($first) = value('SELECT result FROM bgjob.jobs WHERE id = ' . finished($one->('count'))) =~ /(\d+)/;
isnt($first, $pid, 'persistent: a handler that was lost is started again');
kill 'HUP', $worker->{pid};
until_true(sub { !kill 0, $first }, 'SIGHUP: the handler leaves');
isnt(value('SELECT result FROM bgjob.jobs WHERE id = ' . finished($one->('count'))) =~ s/,.*//r, "[$first", 'SIGHUP: another one takes its place');
end_worker($worker);

# ---- how much ----

my @ids = map { $one->('nothing', $_, q(queue => 'amount')) } 1 .. 5;
my ($code, $log) = run_worker([ '--queue', 'amount', '--persistent', '--once' ], $persistent);
is($code, 0, '--once leaves');
is(value("SELECT count(*) FROM bgjob.jobs WHERE job = 'nothing' AND state = 'succeeded' AND args IS NOT NULL"), 1, '--once performs one job');
($code, $log) = run_worker([ '--queue', 'amount', '--persistent', '--max-jobs', 2, '--concurrency', 4 ], $persistent);
is($code, 0, '--max-jobs leaves');
is(value("SELECT count(*) FROM bgjob.jobs WHERE job = 'nothing' AND state = 'succeeded' AND args IS NOT NULL"), 3, '--max-jobs performs so many');
($code, $log) = run_worker([ '--queue', 'amount', '--persistent', '--drain', '--concurrency', 4 ], $persistent);
is($code, 0, '--drain leaves');
is(value("SELECT count(*) FROM bgjob.jobs WHERE job = 'nothing' AND state = 'succeeded' AND args IS NOT NULL"), 5, '--drain performs all');
($code, $log) = run_worker([ '--queue', 'amount', '--once' ], $true);
is($code, 0, '--once without a job leaves, too');

# A list of names, and queues.
my ($known, $other, $elsewhere) = ($one->('silent', undef, q(queue => 'named')), $one->('whatever', undef, q(queue => 'named')), $one->('silent', undef, q(queue => 'elsewhere')));
($code, $log) = run_worker([ '--jobs', 'echo,silent', '--drain', '--queue', 'named' ], $handler);
is($code, 0, '--jobs: the worker leaves');
is(value("SELECT string_agg(state, ' ' ORDER BY id) FROM bgjob.jobs WHERE id IN ($known, $other, $elsewhere)"), 'succeeded scheduled enqueued', '--jobs, --queue: what is not named is not performed');
like($log, qr/WARNING: .*does not know "whatever"/, '--jobs: with a warning');

# A handler that vanishes while the worker runs is no failure of jobs.
my $gone = script("#!/bin/sh\n");
$worker = start_worker([ '--queue', 'vanish' ], $gone);
until_logged($worker, qr/connected to database/, 'a worker whose handler is there starts');
unlink $gone;
my $spared = $one->('any', undef, q(queue => 'vanish'));
ended($spared, 'scheduled', 'without its handler a job is given back');
until_logged($worker, qr/could not start the handler/, 'with an error in the log');
end_worker($worker);

check_counters($node);
done_testing();

# finished JOB waits until a job has succeeded or failed, and returns it.
sub finished
{
	my ($job) = @_;

	BgjobTest::becomes_true($node, "SELECT state IN ('succeeded', 'failed') FROM bgjob.jobs WHERE id = $job", 60, 'postgres');
	return $job;
}
