# Loads for bgjob: enqueueing jobs, draining them, and a steady load.
package Bench::Load;
use strict;
use warnings;
use Bench::Meter;
use Exporter 'import';
use Time::HiRes qw(time sleep);

our @EXPORT = qw(enqueue drain drain_window steady series_figures stats settle_down);

use constant CHUNK => 500_000;    # jobs in one statement

# enqueue enqueues jobs with the arguments {"id": 1} and so on: jobs, and db, user, function, options (SQL, as ", queue => 'g'").
sub enqueue
{
	my ($bench, %opt) = @_;
	my ($function, $options) = ($opt{function} // 'bench_noop', $opt{options} // '');
	my $session = $bench->session($opt{db} // 'bench', $opt{user} // 'app');

	for (my $from = 1; $from <= $opt{jobs}; $from += CHUNK)
	{
		my $to = $from + CHUNK - 1 < $opt{jobs} ? $from + CHUNK - 1 : $opt{jobs};
		$session->rows(<<~"SQL");
			SELECT count(*) FROM bgjob_enqueue_many('$function',
				(SELECT array_agg(jsonb_build_object('id', i)) FROM generate_series($from, $to) i)$options)
			SQL
		$bench->progress(sprintf '  enqueued %d of %d', $to, $opt{jobs}) if $opt{jobs} > CHUNK;
	}
}

# stats is bgjob.stats as a hash.
sub stats
{
	my ($bench, $db) = @_;
	my %stats;

	# After a start of the server the numbers of a large table are null until it has been counted.
	until (defined $stats{enqueued})
	{
		@stats{qw(enqueued processing succeeded failed scheduled)} = $bench->session($db // 'bench')->row(
			'SELECT enqueued, processing, succeeded, failed, scheduled FROM bgjob.stats');
		sleep 0.01 unless defined $stats{enqueued};
	}
	return \%stats;
}

# drain measures the draining of a fresh database's jobs, from the start of the first to the end of the last, and its
# costs. Parameters: those of enqueue, prepare => sub that creates the objects of the jobs, begin => sub called when the drain
# begins. The checkpoint comes before the jobs are enqueued, as graphile.mjs has none between enqueueing and draining either.
sub drain
{
	my ($bench, %opt) = @_;
	my $db = $opt{db} // 'bench';

	$bench->processing('off');
	$bench->fresh($db);
	$opt{prepare}->($db) if $opt{prepare};
	$bench->admin->rows('CHECKPOINT');
	enqueue($bench, %opt);
	$bench->session($db)->rows('VACUUM ANALYZE');
	my $meter = Bench::Meter->begin(bench => $bench, db => $db);
	$opt{begin}->() if $opt{begin};
	$bench->processing('on');
	_wait_until_done($bench, $db);
	$meter->stop;
	my %costs = $meter->costs($opt{jobs});
	my ($jobs, $seconds, $workers) = $bench->session($db)->row(<<~'SQL');
		SELECT count(*), extract(epoch FROM max(finished_at) - min(started_at)), count(DISTINCT worker_pid)
		FROM bgjob.jobs WHERE state = 'succeeded'
		SQL
	die "$jobs jobs succeeded, not $opt{jobs}\n" unless $jobs == $opt{jobs};
	return (rate => [ 'jobs/s', $jobs / $seconds ], processes => [ '', $workers ], %costs);
}

# drain_window measures the rate between the ends of the first twentieth of the jobs and of the last one (or of the number
# wanted, if there are more), by the counts alone, so that other rows of the tables do not matter. Turns processing on and off again;
# end => a sub that lets jobs go that still run then.
sub drain_window
{
	my ($bench, $db, $jobs, %opt) = @_;
	my $before = stats($bench, $db)->{succeeded};
	my ($from, $at, $done) = (undef, 0, 0);

	$bench->processing('on');
	my $moved = time;
	while ($done < $jobs)
	{
		my $now = stats($bench, $db)->{succeeded} - $before;
		$moved = time if $now > $done;
		($at, $done) = (time, $now);
		$from //= [ $at, $done ] if $done >= $jobs / 20;
		die "no job has ended for a minute\n" if time - $moved > 60;
		sleep 0.01;
	}
	$opt{end}->() if $opt{end};
	$bench->processing('off');
	die "too few jobs to measure: they were done at a single look\n" if $done == $from->[1];
	return ($done - $from->[1]) / ($at - $from->[0]);
}

# settle_down waits until a database's transactions have not moved for some seconds; returns their number.
sub settle_down
{
	my ($bench, $db, $seconds) = @_;
	my ($last, $since) = (-1, time);

	$bench->wait_for(120, "$db comes to rest", sub {
		my $now = $bench->admin->value(
			"SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '$db'");
		($last, $since) = ($now, time) if $now != $last;
		sleep 0.2;
		return time - $since >= $seconds;
	});
	return $last;
}

# steady keeps some ten thousand jobs (or keep =>) waiting for a time, and returns the rates: [ end of the window in s, jobs/s ], … :
# seconds, window (in s), and options (as enqueue), tick => sub($elapsed) called every 50 ms or so. The beginning, until the
# workers are there, is not counted.
sub steady
{
	my ($bench, %opt) = @_;
	my $db = $opt{db} // 'bench';
	my $keep = $opt{keep} // 10000;
	my @rates;

	enqueue($bench, %opt, jobs => 2 * $keep);
	$bench->wait_for(60, 'jobs are performed', sub { stats($bench, $db)->{succeeded} > 1000 });
	my ($began, $done, $ticked) = (time, stats($bench, $db)->{succeeded}, 0);
	my $from = $began;
	while (@rates * $opt{window} < $opt{seconds})
	{
		my $stats = stats($bench, $db);
		my $now   = time;
		die "$stats->{failed} jobs failed\n" if $stats->{failed};
		my $end = (@rates + 1) * $opt{window};    # of the window that is running; they do not drift
		if ($now - $began >= $end)
		{
			push @rates, [ $end, ($stats->{succeeded} - $done) / ($now - $from) ];
			($from, $done) = ($now, $stats->{succeeded});
		}
		enqueue($bench, %opt, jobs => $keep) if $stats->{enqueued} < $keep;
		if ($opt{tick} && $now - $ticked > 0.05)
		{
			$opt{tick}->($now - $began);
			$ticked = $now;
		}
		sleep 0.01;
	}
	return @rates;
}

# series_figures makes the rates of a steady load into figures: the series, and the mean of its first third, its last third and its whole.
sub series_figures
{
	my @rates = @_;
	my $some  = int(@rates / 3) || 1;

	die "no rates\n" unless @rates;
	return (
		series => [ 'jobs/s', \@rates ],
		rate   => [ 'jobs/s', _mean(@rates) ],
		begin  => [ 'jobs/s', _mean(@rates[ 0 .. $some - 1 ]) ],
		end    => [ 'jobs/s', _mean(@rates[ -$some .. -1 ]) ]);
}

sub _mean
{
	my $sum = 0;

	$sum += $_->[1] for @_;
	return $sum / @_;
}

# _wait_until_done waits until nothing is enqueued; dies if jobs fail or nothing moves for a minute.
sub _wait_until_done
{
	my ($bench, $db) = @_;
	my ($last, $moved, $reported) = (-1, time, time);

	while (1)
	{
		my $stats = stats($bench, $db);
		die "$stats->{failed} jobs failed\n" if $stats->{failed};
		last if $stats->{enqueued} + $stats->{processing} + $stats->{scheduled} == 0;
		($last, $moved) = ($stats->{succeeded}, time) if $stats->{succeeded} != $last;
		die "no job has ended for a minute\n" if time - $moved > 60;
		if (time - $reported > 10)
		{
			$bench->progress("  $stats->{succeeded} done, $stats->{enqueued} to go");
			$reported = time;
		}
		sleep 0.02;
	}
}

1;
