# Functions shared by the tests of external workers: they start the clients of doc/examples/clients with jobs for tests
# (client_jobs.py, client_jobs.js), or bgjob-worker (client_jobs.sh), end them, and check what they have done.
#
# The jobs: effect {file, in_transaction, n} waits for a file and inserts a row into table effect in the transaction that completes it, where
# it may wait for another file; broken {final} fails; clash fails in the transaction that completes it, after its insertion. bgjob-worker
# knows only the job result, whose arguments are the name of a file that it waits for. The results of effect and result say which worker it was.
package BgjobClients;
use strict;
use warnings;
use BgjobTest;
use Exporter 'import';
use File::Basename qw(dirname);
use POSIX qw(:sys_wait_h);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(clients_on value languages interpreter start_client start_process signal_client has_ended end_client said enqueue effect_waits result_waits appear all_succeed once_each becomes);

# How each language is called, what to ask it whether it has its driver, and the Debian package of that.
my %language = (
	python => { call => [qw(/usr/bin/python3 -B)], ask => [ '-c', 'import psycopg' ], file => 'client_jobs.py', package => 'python3-psycopg' },
	node => { call => ['node'], ask => [ '-e', 'require("pg")' ], file => 'client_jobs.js', package => 'node-pg' });
my ($node, %running, $files);

# clients_on NODE creates what the jobs need in database postgres. Called again for the server that takes its place.
sub clients_on
{
	$node = shift;
	$files //= PostgreSQL::Test::Utils::tempdir();
	value('CREATE TABLE IF NOT EXISTS effect (job bigint, worker text, attempt int)');
}

sub value { return $node->safe_psql('postgres', $_[0]) }

# languages returns those that can be tested here. Each other one is a test that is skipped.
sub languages
{
	my @here;

	foreach my $name (sort keys %language)
	{
		my $language = $language{$name};
		my $has = system('sh', '-c', 'exec "$@" >/dev/null 2>&1', 'sh', @{ $language->{call} }, @{ $language->{ask} }) == 0;

		push @here, $name if $has;
	  SKIP: { skip("$name has no driver here: Debian's package $language->{package}", 1) unless $has }
	}
	return @here;
}

# interpreter LANGUAGE returns the words before a program's file.
sub interpreter { return @{ $language{ $_[0] }{call} } }

# start_client LANGUAGE or bgjob-worker, NAME, OPTION => VALUE… starts a worker. Options: servers (a list of [host, port] in place of the node's own), queues, lease (in
# seconds), within (a command that runs it), parameters (of the connection, for Python).
sub start_client
{
	my ($name, $worker, %option) = @_;
	my $language = $language{$name};
	my @servers = @{ $option{servers} // [ [ $node->host, $node->port ] ] };
	my $user = getpwuid($<);
	my ($hosts, $ports) = map { my $i = $_; join(',', map { $_->[$i] } @servers) } 0, 1;

	return start_process($worker, @{ $option{within} // [] }, 'bgjob-worker', '-d', "host=$hosts port=$ports user=$user dbname=postgres " . ($option{parameters} // ''),
		'--queue', $option{queues} // '*', '--name', $worker, '--lease', ($option{lease} // 60) . 's', '--', 'sh', dirname(__FILE__) . '/client_jobs.sh') if $name eq 'bgjob-worker';

	my $connection = $name eq 'node' ? join(' ', map { "postgres://$user\@localhost:$_->[1]/postgres?host=$_->[0]" } @servers)
	  : "host=$hosts port=$ports user=$user dbname=postgres " . ($option{parameters} // '');
	my @command = (@{ $option{within} // [] }, @{ $language->{call} }, dirname(__FILE__) . "/$language->{file}",
		$connection, $worker, $option{queues} // '*', $option{lease} // 60);

	return start_process($worker, @command);
}

# start_process NAME, COMMAND… starts a program, with its output in a log.
sub start_process
{
	my ($name, @command) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/$name.log";
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null' or die;
		open STDOUT, '>>', $log or die "$log: $!";
		open STDERR, '>&', \*STDOUT or die;
		exec @command or die "$command[0]: $!";
	}
	$running{$pid} = 1;
	return { name => $name, pid => $pid, log => $log };
}

sub signal_client { kill $_[1], $_[0]{pid} }

# has_ended CLIENT [, SECONDS] returns its exit status when it has ended, undef if it does not end.
sub has_ended
{
	my ($client, $seconds) = @_;
	my $end = time + ($seconds // 60);

	until (exists $client->{status} || time > $end)
	{
		if (waitpid($client->{pid}, WNOHANG) == $client->{pid})
		{
			$client->{status} = $?;
			delete $running{ $client->{pid} };
			last;
		}
		usleep(10_000);
	}
	return $client->{status};
}

# end_client CLIENT… has clients end by SIGTERM, and tests that they exit with 0.
sub end_client
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	signal_client($_, 'TERM') for @_;
	is(has_ended($_), 0, "$_->{name} ends by SIGTERM") || diag(said($_)) for @_;
}

sub said { return slurp_file($_[0]{log}) }

# enqueue JOB, ARGS [, OPTIONS] returns the id of a new external job.
sub enqueue
{
	my ($job, $args, $options) = @_;

	return value("SELECT bgjob_enqueue('$job', '$args', kind => 'external'" . ($options ? ", $options" : '') . ')');
}

# effect_waits NAME [, OPTIONS [, WHERE]] enqueues a job that waits until appear(NAME): before its transaction, or "in_transaction".
sub effect_waits
{
	my ($name, $options, $where) = @_;

	$where //= "file";
	return enqueue('effect', qq({"$where": "$files/$name"}), $options);
}

# result_waits NAME [, OPTIONS] enqueues such a job for bgjob-worker.
sub result_waits { return enqueue('result', qq("$files/$_[0]"), $_[1]) }

sub appear { append_to_file("$files/$_", '') for @_ }

# becomes JOB, CONDITION, WHAT waits until a condition on the columns of bgjob.jobs is true for a job.
sub becomes
{
	my ($job, $condition, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, "SELECT $condition FROM bgjob.jobs WHERE id = $job", $what)
	  || diag(value("SELECT row_to_json(j) FROM bgjob.jobs j WHERE id = $job; SELECT seq, state, reason, at, data FROM bgjob.job_states WHERE job_id = $job ORDER BY seq"));
}

# all_succeed WHAT [, CONDITION] waits until all jobs (of those that a condition selects) have succeeded.
sub all_succeed
{
	my ($what, $condition, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$condition //= 'true';
	return wait_until($node, "SELECT bool_and(state = 'succeeded') FROM bgjob.jobs WHERE $condition", $what, $seconds // 120)
	  || diag(value("SELECT state, reason, server, count(*), min(id) FROM bgjob.jobs WHERE $condition GROUP BY 1, 2, 3;
		SELECT row_to_json(l) FROM bgjob_internal.lease l; SELECT row_to_json(s) FROM bgjob.servers s;
		SELECT pid, state, client_addr, backend_type, xact_start, state_change, wait_event, left(query, 80) FROM pg_stat_activity WHERE datname IS NOT NULL;
		SELECT pid, locktype, relation::regclass, transactionid, mode, granted FROM pg_locks WHERE locktype = 'transactionid'"));
}

# once_each WHAT tests that each job effect that has succeeded has one row in table effect, and no other row is there; and that the row is by the worker
# whose result was taken.
sub once_each
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(value(q{SELECT string_agg(concat_ws(' ', j.id, j.state, j.result, e), ', ')
		FROM (SELECT id, state, result FROM bgjob.jobs WHERE job = 'effect') j
		FULL JOIN (SELECT job, count(*) AS rows, min(worker) AS worker FROM effect GROUP BY job) e ON e.job = j.id
		WHERE (j.state = 'succeeded') <> (e.job IS NOT NULL) OR e.rows <> 1 OR j.id IS NULL OR j.result ->> 'worker' <> e.worker}), '', $what);
}

# A test that fails leaves no process behind.
END
{
	my $status = $?;

	kill 'KILL', keys %running;
	waitpid($_, 0) for keys %running;
	$? = $status;
}

1;
