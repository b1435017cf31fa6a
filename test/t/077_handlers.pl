# The handlers of doc/examples/handlers do under bgjob-worker what they say: one process for each job, or one for many. Results, failures with and without
# a retry, jobs that they do not know, progress and log lines.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobClients;
use BgjobTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $handlers = "$FindBin::RealBin/../../doc/examples/handlers";
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $node = bgjob_cluster('handlers');
clients_on($node);

my $file = PostgreSQL::Test::Utils::tempdir() . q(/a "file" $(x));
append_to_file($file, "abc\n");
my $table = { csv => "id,price\n1,2.50\n2,\"1,000\"\n3,4", column => 'id' };
my @cases = (
	{ handler => 'checksum.sh', with => ['sh'], asks => [qw(jq --version)], job => 'checksum', modes => [ [] ],
		good => { file => $file }, result => { file => $file, sha256 => 'edeaaff3f1774ad2888673770c6d64097e391bc362d7d6fb34982ddf0efd18cb' }, log => qr/attempt 1: reading/,
		bad => { file => '/nowhere' }, error => qr(there is no file /nowhere), retried => undef },
	{ handler => 'report.py', with => [ interpreter('python') ], asks => [ interpreter('python'), '-V' ], job => 'sum_column', modes => [ [], ['--persistent'] ],
		good => $table, result => { rows => 3, sum => '6' }, progress => '3 rows',
		bad => { %$table, column => 'weight' }, error => qr/there is no column weight/, retried => { %$table, column => 'price' } },
	{ handler => 'letter.js', with => [ interpreter('node') ], asks => [ interpreter('node'), '--version' ], job => 'letter', modes => [ ['--persistent'] ],
		good => { text => 'Dear {name}, {again}', values => { name => "Ad\x{e4}\n", again => '{name}' } }, result => "Dear Ad\x{e4}\n, {name}", progress => '2 values',
		bad => { text => '{name}', values => {} }, error => qr/there is no value for name/, retried => undef });

foreach my $case (@cases)
{
  SKIP:
	{
		skip("$case->{asks}[0] is not to be had here", 1) if system("@{ $case->{asks} } >/dev/null 2>&1") != 0;
		handles($case, @$_) foreach @{ $case->{modes} };
	}
}
check_counters($node);
done_testing();

# handles CASE, OPTION… runs the handler's jobs by a bgjob-worker with these options.
sub handles
{
	my ($case, @options) = @_;
	my $what = "$case->{handler} @options";
	my $worker = start_process(($what =~ s/\W+/-/gr), 'bgjob-worker', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '--queue', '*',
		'--name', 'one', '--concurrency', 2, @options, '--', @{ $case->{with} }, "$handlers/$case->{handler}");

	my $good = job($case->{job}, $case->{good});
	becomes($good, "state = 'succeeded'", "$what: a job succeeds");
	is($json->encode($json->decode(value("SELECT result FROM bgjob.jobs WHERE id = $good"))), $json->encode($case->{result}), "$what: its result is kept");
	like(value("SELECT string_agg(message, ' ') FROM bgjob.job_logs WHERE job_id = $good"), $case->{log}, "$what: the job has a log") if $case->{log};
	is(value("SELECT progress_message FROM bgjob.jobs WHERE id = $good"), $case->{progress}, "$what: the job has told its progress") if $case->{progress};

	my $bad = job($case->{job}, $case->{bad});
	becomes($bad, "state = 'failed' AND retries = 0", "$what: a job that cannot succeed fails at once");
	like(value("SELECT error ->> 'message' FROM bgjob.jobs WHERE id = $bad"), $case->{error}, "$what: its error says why");
	if ($case->{retried})
	{
		my $retried = job($case->{job}, $case->{retried});
		becomes($retried, "state = 'scheduled' AND retries = 1", "$what: a job that fails otherwise is retried");
	}
	my $unknown = job('unknown', {});
	becomes($unknown, "state = 'scheduled' AND retries = 0", "$what: a job that it does not know is given back");

	# Many, for which it need not have ended.
	my $many = value("SELECT array_agg(j) FROM bgjob_enqueue_many('$case->{job}', array_fill(\$j\$@{[ $json->encode($case->{good}) ]}\$j\$::jsonb, ARRAY[50]), kind => 'external') j");
	all_succeed("$what: many jobs succeed", "id = ANY ('$many')");
	end_client($worker);
	value('SELECT bgjob_delete(id) FROM bgjob.jobs');
}

sub job
{
	my ($job, $args) = @_;

	return value("SELECT bgjob_enqueue('$job', \$j\$@{[ $json->encode($args) ]}\$j\$, kind => 'external')");
}
