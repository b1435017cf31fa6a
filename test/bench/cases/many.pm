# a million jobs by bgjob_enqueue_many, 100,000 at a time: against graphile-worker's add_jobs; and all of them in one statement
package Case::many;
use strict;
use warnings;
use Bench::Meter;
use Bench::Peers;
use Time::HiRes qw(time);

use constant {
	FORM => q(json_populate_record(null::graphile_worker.job_spec, json_build_object('identifier', 'noop', 'payload', json_build_object('id', i)))),
	ROWS => q(ROW('noop', json_build_object('id', i), NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec),
};

sub run
{
	my ($bench) = @_;
	my $jobs = $bench->n(1_000_000);
	my $each = $bench->n(100_000);

	$bench->settings('bgjob.enabled' => 'off');
	$bench->alternate('many',
		bgjob => sub { bgjob($bench, $jobs, $each) },
		($bench->peers ? (graphile => sub { graphile($bench, $jobs, $each, FORM) }) : ()),
		'bgjob, one statement' => sub { bgjob($bench, $jobs, $jobs) },
		($bench->peers ? ('graphile, specs as rows' => sub { graphile($bench, $jobs, $each, ROWS) }) : ()));
}

# bgjob puts them in, so many with each statement.
sub bgjob
{
	my ($bench, $jobs, $each) = @_;

	$bench->fresh('bench');
	return timed($bench, 'bench', 'app', $jobs, $each, <<~'SQL');
		SELECT count(*) FROM bgjob_enqueue_many('bench_noop', ARRAY(SELECT jsonb_build_object('id', i) FROM generate_series(%d, %d) i))
		SQL
}

# graphile puts them in with specifications made by an expression: that of graphile.mjs, or a leaner one.
sub graphile
{
	my ($bench, $jobs, $each, $spec) = @_;

	graphile_schema($bench);
	return timed($bench, 'peers', 'postgres', $jobs, $each, <<~"SQL");
		SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(SELECT $spec FROM generate_series(%d, %d) i))
		SQL
}

# timed runs a statement with the ids from 1 on, so many at a time.
sub timed
{
	my ($bench, $db, $user, $jobs, $each, $sql) = @_;
	my $session = $bench->session($db, $user);

	$bench->admin->rows('CHECKPOINT');
	my $meter = Bench::Meter->begin(bench => $bench, db => $db);
	my $began = time;
	for (my $from = 1; $from <= $jobs; $from += $each)
	{
		$session->rows(sprintf $sql, $from, $from + $each - 1);
	}
	my $took = time - $began;
	$meter->stop;
	return (rate => [ 'jobs/s', $jobs / $took ], $meter->costs($jobs));
}

1;
