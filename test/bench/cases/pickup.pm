# from the commit to the start of the job, on an idle queue
package Case::pickup;
use strict;
use warnings;
use Bench::Peers;
use Time::HiRes qw(sleep);

sub run
{
	my ($bench) = @_;

	$bench->alternate('pickup',
		bgjob => sub { latency($bench, $bench->n(1000)) },
		$bench->peers ? (graphile => sub { graphile_latency($bench, $bench->n(1000)) }) : ());
}

# latency enqueues single jobs with pauses of 10 ms. All instants are the server's clock: the job's start in the job; the
# call in the statement that enqueues; the commit by a statement that the same message brings after COMMIT, so that only
# the server's own way from one to the other is between. p50 and p99 are from the commit, as graphile.mjs measures them;
# call_p50 and call_p99 are from the call and have the flush of the enqueueing commit in them.
sub latency
{
	my ($bench, $jobs) = @_;
	my (@sent, %started);

	$bench->fresh('bench');
	my $app = $bench->session('bench', 'app');
	$app->rows(<<~'SQL');
		CREATE TABLE started (id bigint, at timestamptz);
		CREATE FUNCTION bench_pickup(args jsonb) RETURNS void LANGUAGE plpgsql AS
			$$ BEGIN INSERT INTO started VALUES ((args ->> 'id')::bigint, clock_timestamp()); END $$;
		SQL
	one($app, 0) && sleep 0.05 for 1 .. 20;
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	for my $id (1 .. $jobs)
	{
		push @sent, [ $id, one($app, $id) ];
		sleep 0.01;
	}
	$bench->wait_for(10, 'the jobs have run', sub { $app->value('SELECT count(*) FROM started WHERE id > 0') == $jobs });
	%started = map { @$_ } $app->rows('SELECT id, (extract(epoch FROM at) * 1000000)::bigint FROM started');
	my @commit = sort { $a <=> $b } map { $started{ $_->[0] } - $_->[2] } @sent;
	my @call   = sort { $a <=> $b } map { $started{ $_->[0] } - $_->[1] } @sent;
	return (
		p50      => [ 'us', $commit[ $jobs / 2 ] ],
		p99      => [ 'us', $commit[ $jobs * 0.99 ] ],
		call_p50 => [ 'us', $call[ $jobs / 2 ] ],
		call_p99 => [ 'us', $call[ $jobs * 0.99 ] ]);
}

# one enqueues a job; returns the instants of the call and of the commit, in microseconds.
sub one
{
	my ($app, $id) = @_;

	$app->send(<<~"SQL");
		BEGIN;
		SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, bgjob_enqueue('bench_pickup', '{"id": $id}');
		COMMIT;
		SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
		SQL
	my ($call, $commit) = $app->finish;
	return ($call->[0][0], $commit->[0][0]);
}

1;
