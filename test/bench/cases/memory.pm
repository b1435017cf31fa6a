# private memory of a worker: against a bare background worker, and over a million jobs
package Case::memory;
use strict;
use warnings;
use Bench::Load;
use Time::HiRes qw(sleep time);

sub run
{
	my ($bench) = @_;

	$bench->settings('bgjob.workers' => 1);
	$bench->alternate('memory', bare => sub { bare($bench) }, 'after one job' => sub { after_one($bench) });
	$bench->fresh('bench');
	my $groups = $bench->grouped('bench', 'memory');
	$bench->record('memory', 'over a million', over_many($bench, $bench->n(1_000_000), $groups));
}

# bare measures a worker that only connects and waits.
sub bare
{
	my ($bench) = @_;

	$bench->fresh('bench');
	$bench->session('bench')->rows('CREATE EXTENSION bareworker');
	my $pid = $bench->session('bench')->value(q(SELECT bareworker_start('app')));
	sleep 0.3;
	my $kb = private_kb($pid);
	$bench->session('bench')->rows("SELECT pg_terminate_backend($pid, 5000)");
	return (private => [ 'kB', $kb ]);
}

# after_one measures a worker of bgjob that has done one job.
sub after_one
{
	my ($bench) = @_;

	$bench->fresh('bench');
	enqueue($bench, jobs => 1);
	$bench->wait_for(30, 'the job is done', sub { stats($bench)->{succeeded} == 1 });
	sleep 0.3;
	return (private => [ 'kB', private_kb((worker($bench))[0]) ]);
}

# over_many watches the one worker through many jobs; it is replaced every 100,000 or so, and a group may be in between.
sub over_many
{
	my ($bench, $jobs, $groups) = @_;
	my (@total, @life, %at);

	enqueue($bench, jobs => $jobs, options => $groups ? q(, queue => 'g') : '');
	my $moved = time;
	my $last  = -1;
	while (1)
	{
		my $done = stats($bench)->{succeeded};
		($last, $moved) = ($done, time) if $done > $last;
		die "no job has ended for a minute\n" if time - $moved > 60;
		my ($pid, $own) = worker($bench);
		if ($pid && (my $kb = private_kb($pid)))
		{
			push @life, [ $own, $kb ];
			for my $percent (10, 50, 100)
			{
				$at{$percent} = $kb if $done <= $jobs * $percent / 100 && $done > 0;
			}
		}
		last if $done >= $jobs;
		sleep 0.1;
	}
	my @series = map { [ $_, $at{$_} ] } grep { $at{$_} } 10, 50, 100;
	# In one worker's life: from its first tenth to its last.
	my ($longest) = sort { $b <=> $a } map { $_->[0] } @life;
	my @young = map { $_->[1] } grep { $_->[0] > 100 && $_->[0] <= $longest / 5 } @life;
	my @old   = map { $_->[1] } grep { $_->[0] > $longest * 4 / 5 } @life;
	$bench->progress(sprintf 'memory: %s; in one life of %d jobs: %s to %s kB', join(', ', map { "$_->[0] %: $_->[1] kB" } @series),
		$longest, median(@young) // '?', median(@old) // '?');
	return (
		private => [ 'kB', \@series ],
		life    => [ 'jobs', $longest ],
		@young && @old ? (growth => [ 'kB', median(@old) - median(@young) ]) : ());
}

# worker is the process id of the one worker and the jobs that it has done.
sub worker
{
	my ($bench) = @_;

	return $bench->session('bench')->row('SELECT pid, jobs_done FROM bgjob.workers ORDER BY started_at DESC LIMIT 1');
}

# private_kb is the dirty private memory of a process: of its private mappings only, as a page of the server's shared
# memory also counts as private while no other process happens to have touched it. 0 if the process has gone.
sub private_kb
{
	my ($pid) = @_;
	my ($kb, $private) = (0, 0);

	open my $file, '<', "/proc/$pid/smaps" or return 0;
	while (<$file>)
	{
		$private = $1 eq 'p' if /^[0-9a-f]+-[0-9a-f]+ ...(.) /;
		$kb += $1 if $private && /^Private_Dirty:\s+(\d+)/;
	}
	return $kb;
}

sub median
{
	my @sorted = sort { $a <=> $b } @_;

	return $sorted[ $#sorted / 2 ];
}

1;
