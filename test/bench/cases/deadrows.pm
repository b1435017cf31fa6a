# the pickup of single jobs after ten million dead rows, which a held snapshot keeps: against the same without the snapshot
package Case::deadrows;
use strict;
use warnings;
use Bench::Load;
use Time::HiRes qw(sleep);

use constant PAUSE => 0.02;    # seconds between two jobs

sub run
{
	my ($bench) = @_;
	my $dead = $bench->n(10_000_000);
	my $jobs = int $bench->seconds(60) / PAUSE;

	$bench->fresh('bench');
	return unless $bench->grouped('bench', 'deadrows');
	$bench->alternate('deadrows', map { my ($name, $held) = @$_; ("bgjob $name" => sub { behind($bench, $held, $dead, $jobs) }) } [ 'held', 1 ], [ 'free', 0 ]);
}

# behind performs many jobs in groups, with a snapshot held or not, and then measures single ones.
sub behind
{
	my ($bench, $held, $dead, $jobs) = @_;

	$bench->processing('off');
	$bench->fresh('bench');
	$bench->grouped('bench', 'deadrows');
	my $app = $bench->session('bench', 'app');
	$app->rows(<<~'SQL');
		CREATE TABLE started (id bigint, at timestamptz);
		CREATE FUNCTION bench_started(args jsonb) RETURNS void LANGUAGE plpgsql AS
			$$ BEGIN INSERT INTO started VALUES ((args ->> 'id')::bigint, clock_timestamp()); END $$;
		SQL
	$bench->session('bench', 'app', 'holder')->rows('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class') if $held;
	enqueue($bench, jobs => $dead, options => q(, queue => 'g'));
	$bench->processing('on');
	$bench->wait_for(1800, 'the many jobs are done', sub { sleep 0.2; stats($bench)->{succeeded} == $dead });
	$bench->admin->rows('CHECKPOINT');
	one($app, 0) && sleep 0.05 for 1 .. 20;
	my @sent;
	for my $id (1 .. $jobs)
	{
		push @sent, [ $id, one($app, $id) ];
		sleep PAUSE;
	}
	$bench->wait_for(60, 'the jobs have run', sub { $app->value('SELECT count(*) FROM started WHERE id > 0') == $jobs });
	my %started = map { @$_ } $app->rows('SELECT id, (extract(epoch FROM at) * 1000000)::bigint FROM started');
	my @us = sort { $a <=> $b } map { $started{ $_->[0] } - $_->[1] } @sent;
	return (p50 => [ 'us', $us[ @us / 2 ] ], p99 => [ 'us', $us[ @us * 0.99 ] ], max => [ 'us', $us[-1] ], dead => [ '', $dead ]);
}

# one enqueues a job into the queue of the many; returns the instant of the commit, in microseconds.
sub one
{
	my ($app, $id) = @_;

	$app->send(<<~"SQL");
		BEGIN;
		SELECT bgjob_enqueue('bench_started', '{"id": $id}', queue => 'g');
		COMMIT;
		SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
		SQL
	my (undef, $commit) = $app->finish;
	return $commit->[0][0];
}

1;
