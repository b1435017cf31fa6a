# Workers on two machines, the database on a third: work spreads. A machine is cut off, with jobs in hand and connections half open: its jobs are
# performed by the other one when their leases are over, also a job whose worker was about to commit. When the machine is back, its late answers change
# nothing. Each effect in the database is there exactly once, and no job is lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobHosts;
use BgjobClients;
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

# By these settings, a session ends that is in a transaction when its client is cut off: it idles, or has received a half of a statement.
my $node = bgjob_cluster('hosts', listen_addresses => hosts_address(), idle_in_transaction_session_timeout => '3s',
	tcp_keepalives_idle => 12, tcp_keepalives_interval => 2, tcp_keepalives_count => 2);
append_to_file($node->data_dir . '/pg_hba.conf', 'host all all ' . hosts_network() . " trust\n");
$node->reload;
clients_on($node);
my %host = map { $_ => host($_) } qw(east west);

foreach my $language (languages())
{
	my @clients = map { my $host = $_; map { start_client($language, "$language-$host-$_", lease => 3, within => [ within($host{$host}) ], servers => [ [ hosts_address(), $node->port ] ]) } 1, 2 } sort keys %host;

	# Each of the four has a job. A host is cut off. Then its jobs end, which it cannot say.
	my $jobs = all_have_one("$language: work spreads", "$language-1");
	my $lost = value(q(SELECT array_agg(id) FROM bgjob.jobs WHERE state = 'processing' AND server LIKE '%-west-%'));
	unplug($host{west});
	appear("$language-1");
	all_succeed("$language: the jobs of a host that is cut off are performed by the other", "id = ANY ('$jobs')");
	is(value("SELECT string_agg(concat_ws(' ', retries, interruptions, result ->> 'worker' LIKE '%-east-%'), ', ') FROM bgjob.jobs WHERE id = ANY ('$lost')"), '0 1 t, 0 1 t',
		"$language: that used no retry");
	once_each("$language: each job has its effect once");

	# The host is back. It answers, too late, and works again.
	plug_in($host{west});
	wait_until($node, qq(SELECT count(*) = 2 FROM bgjob.job_states WHERE job_id = ANY ('$lost') AND reason ~ '^Late answer of worker "$language-west-.*" ignored'),
		"$language: its late answers are in the history");
	once_each("$language: they change nothing");

	# A host is cut off between completing its job and the commit.
	my $job = effect_waits("$language-2", undef, "in_transaction");
	wait_until($node, q(SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'idle in transaction'), "$language: a worker is about to commit");
	my ($cut) = value("SELECT server FROM bgjob.jobs WHERE id = $job") =~ /-(\w+)-/;
	unplug($host{$cut});
	appear("$language-2");
	all_succeed("$language: the job is performed by the other host when the session of the first has ended", "id = $job");
	unlike(value("SELECT result ->> 'worker' FROM bgjob.jobs WHERE id = $job"), qr/-$cut-/, "$language: by the other one");
	once_each("$language: with its effect once");
	plug_in($host{$cut});
	all_have_one("$language: all work again", "$language-3");
	appear("$language-3");

	# Hosts are cut off while many jobs run.
	foreach my $cut (sort keys %host)
	{
		my $many = value(q{SELECT array_agg(j) FROM bgjob_enqueue_many('effect', array_fill('{}'::jsonb, ARRAY[500]), kind => 'external') j});

		wait_until($node, "SELECT count(*) > 20 FROM bgjob.jobs WHERE id = ANY ('$many') AND state = 'succeeded'", "$language: many jobs run");
		unplug($host{$cut});
		all_succeed("$language: all succeed without host $cut", "id = ANY ('$many')");
		plug_in($host{$cut});
		once_each("$language: with their effects once");
		all_have_one("$language: host $cut is back", "$language-$cut");
		appear("$language-$cut");
	}
	all_succeed("$language: no job is lost", 'true');
	end_client(@clients);
	once_each("$language: each job has had its effect once");
}
programs();
check_counters($node);
done_testing();

# The same with bgjob-worker, which keeps its results in the jobs alone.
sub programs
{
	my @workers = map { my $host = $_; map { start_client('bgjob-worker', "worker-$host-$_", lease => 3, within => [ within($host{$host}) ], servers => [ [ hosts_address(), $node->port ] ]) } 1, 2 } sort keys %host;
	my $jobs = all_have_one('bgjob-worker: work spreads', 'worker-1', \&result_waits);
	my $lost = value(q(SELECT array_agg(id) FROM bgjob.jobs WHERE state = 'processing' AND server LIKE '%-west-%'));

	unplug($host{west});
	appear('worker-1');
	all_succeed('bgjob-worker: the jobs of a host that is cut off are performed by the other', "id = ANY ('$jobs')");
	is(value("SELECT string_agg(concat_ws(' ', retries, interruptions, result ->> 'worker' LIKE '%-east-%'), ', ') FROM bgjob.jobs WHERE id = ANY ('$lost')"), '0 1 t, 0 1 t',
		'bgjob-worker: that used no retry');
	plug_in($host{west});
	all_have_one('bgjob-worker: all work again', 'worker-2', \&result_waits);
	appear('worker-2');
	all_succeed('bgjob-worker: no job is lost', 'true');
	is(value("SELECT string_agg(concat_ws(' ', retries, interruptions, result ->> 'worker' LIKE '%-east-%'), ', ') FROM bgjob.jobs WHERE id = ANY ('$lost')"), '0 1 t, 0 1 t',
		'bgjob-worker: late answers have changed nothing');
	end_client(@workers);
}

# all_have_one WHAT, FILE [, ENQUEUE] tests that four jobs that wait for a file are performed by the four workers, and returns the jobs.
sub all_have_one
{
	my ($what, $file, $enqueue) = @_;
	my $jobs = '{' . join(',', map { $enqueue ? $enqueue->($file) : effect_waits($file) } 1 .. 4) . '}';

	wait_until($node, "SELECT count(DISTINCT server) = 4 FROM bgjob.jobs WHERE id = ANY ('$jobs') AND state = 'processing'", $what, 120)
	  || diag(value("SELECT row_to_json(s) FROM bgjob.servers s; SELECT state, server FROM bgjob.jobs WHERE id = ANY ('$jobs')"));
	return $jobs;
}
