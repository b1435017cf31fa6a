# 1,000 sessions wait in bgjob_await(): how many wake when a job is enqueued, and when ten are
package Case::external_waiting;
use strict;
use warnings;
use Bench::External;
use Bench::Sql;
use List::Util qw(max);
use Time::HiRes qw(sleep);

use constant { SESSIONS => 1000, QUIET => 1.5 };    # QUIET: seconds after which nobody else wakes

sub run
{
	my ($bench) = @_;

	$bench->settings(max_connections => SESSIONS + 50);
	$bench->alternate('external_waiting', map { my $jobs = $_; ("$jobs at once" => sub { waiting($bench, $bench->quick ? 2 : $jobs == 1 ? 20 : 5, $jobs) }) } 1, 10);
	$bench->restart;    # ends the sessions that wait
}

# waiting enqueues jobs in several rounds. A session has woken if it has slept again since, whether it returned or not.
sub waiting
{
	my ($bench, $rounds, $jobs) = @_;
	my (@woken, @returned);

	external_jobs($bench, 0);
	my @sessions = map { Bench::Sql->new(socket => $bench->socket, db => 'bench', user => 'app') } 1 .. SESSIONS;
	my %waits = map { $_->value('SELECT pg_backend_pid()') => $_ } @sessions;
	wait_again($_) for @sessions;
	$bench->wait_for(60, 'all wait', sub {
		$bench->admin->value(q(SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND wait_event_type = 'Extension')) == SESSIONS;
	});
	for my $round (1 .. $rounds)
	{
		sleep QUIET / 10;
		my %before = map { $_ => sleeps($_) } keys %waits;
		$bench->session('bench', 'app')->rows(
			"SELECT count(bgjob_enqueue('noop', jsonb_build_object('id', i), kind => 'external')) FROM generate_series(1, $jobs) i");
		sleep QUIET;
		my @back = grep { $_->readable } @sessions;
		push @woken, scalar grep { sleeps($_) != $before{$_} } keys %waits;
		push @returned, scalar @back;
		perform($_) for @back;
	}
	my $left = $bench->session('bench')->value(q(SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'));
	$_->close for @sessions;
	return (woken => [ '', max @woken ], returned => [ '', max @returned ], left => [ '', $left ]);
}

# perform takes one job for a session that has returned, and has it wait again.
sub perform
{
	my ($session) = @_;

	$session->finish;
	$session->rows(q(SELECT bgjob_complete(id, 'w' || pg_backend_pid()) FROM bgjob_fetch('{*}', 'w' || pg_backend_pid())));
	wait_again($session);
}

sub wait_again { $_[0]->send(q(CALL bgjob_await('{*}', '10 min'))) }

# sleeps is how often a process has gone to sleep so far.
sub sleeps
{
	my ($pid) = @_;

	open my $file, '<', "/proc/$pid/status" or die "session $pid has ended\n";
	return (map { /^voluntary_ctxt_switches:\s+(\d+)/ ? $1 : () } <$file>)[0];
}

1;
