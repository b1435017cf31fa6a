# 1,000 sessions wait in bgjob_await(): how many wake when a job is enqueued, and when ten are
package Case::external_waiting;
use strict;
use warnings;
use Bench::External;
use Bench::Sql;
use List::Util qw(max);
use Time::HiRes qw(sleep time);

# QUIET: seconds after which nobody else wakes. The server leaves each session's alarm of authentication_timeout set, which wakes it that long
# after it has connected: LATE is after the case. The alarm for statistics wakes a session up to ten seconds after its last statement: the
# first round begins IDLE seconds after all wait.
use constant { SESSIONS => 1000, QUIET => 1.5, LATE => '10min', IDLE => 11 };

sub run
{
	my ($bench) = @_;

	$bench->settings(max_connections => SESSIONS + 50, authentication_timeout => LATE);
	$bench->alternate('external_waiting', map { my $jobs = $_; ("$jobs at once" => sub { waiting($bench, $bench->quick ? 2 : $jobs == 1 ? 20 : 5, $jobs) }) } 1, 10);
}

# waiting enqueues jobs in several rounds. A session has woken if it has slept again since, whether its call returned or not. But for ten seconds
# after its last statement a session may wake because of the server's own alarm for statistics: those that had a job before count if they return.
sub waiting
{
	my ($bench, $rounds, $jobs) = @_;
	my (@woken, @returned, %served);

	external_jobs($bench, 0);
	my @sessions = map { Bench::Sql->new(socket => $bench->socket, db => 'bench', user => 'app') } 1 .. SESSIONS;
	my %waits = map { $_->value('SELECT pg_backend_pid()') => $_ } @sessions;
	wait_again($_) for @sessions;
	$bench->wait_for(60, 'all wait', sub {
		$bench->admin->value(q(SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL bgjob_await%' AND wait_event_type = 'Extension')) == SESSIONS;
	});
	sleep IDLE;
	for my $round (1 .. $rounds)
	{
		sleep QUIET / 10;
		my %before = map { $_ => sleeps($_) } keys %waits;
		$bench->session('bench', 'app')->rows(
			"SELECT count(bgjob_enqueue('noop', jsonb_build_object('id', i), kind => 'external')) FROM generate_series(1, $jobs) i");
		my @back = serve(\@sessions, QUIET);
		$served{$_} = 1 for @back;
		push @woken, @back + grep { sleeps($_) != $before{$_} && !$served{ $waits{$_} } } keys %waits;
		push @returned, scalar @back;
		wait_again($_) for @back;    # after all jobs are done: else it would return at once
	}
	my $left = $bench->session('bench')->value(q(SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'));
	# They would see only at the end of their wait that the client has gone.
	$bench->admin->rows('SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[' . join(',', keys %waits) . ']) pid');
	eval { $_->close } for @sessions;
	return (woken => [ '', max @woken ], returned => [ '', max @returned ], left => [ '', $left ]);
}

# serve has each session that returns within a time take one job at once; which these were.
sub serve
{
	my ($sessions, $seconds) = @_;
	my ($end, %back) = (time + $seconds);

	while (time < $end)
	{
		for my $session (grep { !$back{$_} && $_->readable } @$sessions)
		{
			$session->finish;
			$session->rows(q(SELECT bgjob_complete(id, 'w' || pg_backend_pid()) FROM bgjob_fetch('{*}', 'w' || pg_backend_pid())));
			$back{$session} = $session;
		}
		sleep 0.01;
	}
	return values %back;
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
