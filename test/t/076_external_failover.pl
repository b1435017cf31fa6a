# check.sh: crashes expected
# The primary is lost while external workers have jobs: they find the standby that takes its place, by a list of hosts, register there by themselves,
# and each job succeeds with its effect exactly once. No job is lost whose enqueueing was acknowledged.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobClients;
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = bgjob_cluster('primary', allows_streaming => 1);
clients_on($primary);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
set_and_reload($primary, synchronous_standby_names => '*');
wait_until($primary, q(SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'), 'a synchronous standby');

# The standby comes first in the list: a worker passes it over as long as it is one.
my @servers = map { [ $_->host, $_->port ] } $standby, $primary;
my @languages = languages();
my @clients = map { my $language = $_; map { start_client($language, "$language-$_", servers => \@servers, queues => 'default', parameters => 'target_session_attrs=read-write') } 1 .. 3 } @languages;
push @clients, start_client('bgjob-worker', 'worker-1', servers => \@servers, queues => 'programs', parameters => 'target_session_attrs=read-write');

SKIP:
{
	skip('no language has its driver', 1) unless @languages;
	my $kept = result_waits('promoted', q(queue => 'programs'));
	becomes($kept, q(state = 'processing' AND server = 'worker-1'), 'bgjob-worker has a job that waits');
	my @waiting = map { effect_waits('promoted') } 1 .. 2;
	wait_until($primary, "SELECT count(*) = 2 FROM bgjob.jobs WHERE id IN (@{[ join ',', @waiting ]}) AND state = 'processing'", 'two workers have jobs that wait');
	my $many = value(q{SELECT array_agg(j) FROM bgjob_enqueue_many('effect', array_fill('{}'::jsonb, ARRAY[3000]), kind => 'external') j});
	wait_until($primary, "SELECT count(*) > 100 FROM bgjob.jobs WHERE id = ANY ('$many') AND state = 'succeeded'", 'jobs succeed');
	my $seen = value(q{SELECT array_agg(id) FROM bgjob.jobs WHERE state = 'succeeded'});

	my $pid = $primary->{_pid};
	$primary->kill9;
	until_gone($pid);
	$standby->promote;
	$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$standby->reload;
	clients_on($standby);
	is(value("SELECT count(*) FROM bgjob.jobs WHERE id = ANY ('$seen') AND state <> 'succeeded'"), 0, 'jobs seen as succeeded have succeeded');
	cmp_ok(value(q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'}), '>', 0, 'others have not');
	wait_until($standby, "SELECT count(*) = 2 FROM bgjob.jobs WHERE id IN (@{[ join ',', @waiting ]}) AND state = 'processing'", 'there they have these jobs again, or others have');
	wait_until($standby, "SELECT count(*) = @{[ scalar @clients ]} FROM bgjob.servers WHERE kind = 'external'", 'all workers are known to the new primary');
	appear('promoted');
	all_succeed('all jobs succeed there');
	once_each('each has its effect once');
	is(value("SELECT result ->> 'worker' FROM bgjob.jobs WHERE id = $kept"), 'worker-1', 'bgjob-worker has performed its job there');
	is(value(q(SELECT sum(retries) FROM bgjob.jobs)), 0, 'no retry was used');
	end_client(@clients);
}
check_counters($standby);
$standby->stop;

# Only its successor removes the shared memory of a server that was killed.
start_again($primary);
$primary->stop('immediate');
done_testing();
