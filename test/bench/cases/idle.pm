# 20 idle workers for a minute: transactions, CPU and wake-ups
package Case::idle;
use strict;
use warnings;
use Bench::Load;
use Bench::Meter;
use Bench::Peers;
use Time::HiRes qw(sleep);

sub run
{
	my ($bench) = @_;
	my $seconds = int $bench->seconds(60);

	# autovacuum's own transactions are counted with the database's; it would look at the tables once a minute
	$bench->settings(autovacuum => 'off', max_worker_processes => 32, 'bgjob.workers' => 20, 'bgjob.worker_idle_timeout' => '20min');
	$bench->record('idle', 'bgjob', bgjob($bench, $seconds));
	$bench->record('idle', 'graphile', graphile($bench, $seconds)) if $bench->peers;
}

# bgjob has 20 workers started by jobs that last a while, lets them come to rest, and then only looks at the counters: in
# another database, and in /proc.
sub bgjob
{
	my ($bench, $seconds) = @_;

	$bench->fresh('bench');
	enqueue($bench, jobs => 60, function => 'bench_nap');
	$bench->wait_for(60, 'there are 20 workers', sub { workers($bench) == 20 });
	$bench->wait_for(60, 'the jobs are done', sub { stats($bench)->{succeeded} == 60 });
	$bench->close_sessions('bench');
	my $transactions = settle_down($bench, 'bench', 12);
	my @pids = map { $_->[0] } $bench->admin->rows(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ '^bgjob'));
	my ($cpu, $wakeups) = (0, 0);
	$cpu -= (Bench::Meter::process_cpu($_))[0], $wakeups -= switches($_) for @pids;
	$bench->progress("idle: bgjob: watching for $seconds s");
	sleep $seconds;
	$cpu += (Bench::Meter::process_cpu($_))[0], $wakeups += switches($_) for @pids;
	$transactions = transactions($bench, 'bench') - $transactions;
	my $workers = workers($bench);
	$bench->progress(sprintf 'idle: bgjob: %d workers, %d transactions, %.2f s of CPU, %d wake-ups', $workers, $transactions, $cpu, $wakeups);
	return (
		workers      => [ '',   $workers ],
		transactions => [ '/min', $transactions / $seconds * 60 ],
		cpu          => [ 'ticks/min', sprintf('%.0f', $cpu * 100) / $seconds * 60 ],
		wakeups      => [ '/min', $wakeups / $seconds * 60 ]);
}

# graphile has one process with 10 at once.
sub graphile
{
	my ($bench, $seconds) = @_;
	my ($transactions, $cpu) = (0, 0);

	graphile_idle($bench, $seconds, sub {
		my ($pid, $sign) = @_;
		$transactions += $sign * transactions($bench, 'peers');
		$cpu += $sign * ((Bench::Meter::process_cpu($pid))[0] + Bench::Meter::family_cpu($bench->postmaster));
	});
	$bench->progress(sprintf 'idle: graphile: %d transactions, %.2f s of CPU (client and server)', $transactions, $cpu);
	return (transactions => [ '/min', $transactions / $seconds * 60 ], cpu => [ 'ticks/min', $cpu * 100 / $seconds * 60 ]);
}

sub workers { return $_[0]->admin->value(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bgjob worker')) }

sub transactions
{
	my ($bench, $db) = @_;

	return $bench->admin->value("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '$db'");
}

# switches is how often a process has gone to sleep so far: each wake-up makes one.
sub switches
{
	my ($pid) = @_;

	open my $file, '<', "/proc/$pid/status" or return 0;
	return (map { /^voluntary_ctxt_switches:\s+(\d+)/ ? $1 : () } <$file>)[0] // 0;
}

1;
