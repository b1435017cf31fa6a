# a million jobs in one bgjob_enqueue_many: against graphile-worker's add_jobs, 100,000 at a time
package Case::many;
use strict;
use warnings;
use Bench::Meter;
use Bench::Peers;
use Time::HiRes qw(time);

sub run
{
	my ($bench) = @_;
	my $jobs = $bench->n(1_000_000);

	$bench->settings('bgjob.enabled' => 'off');
	$bench->alternate('many',
		bgjob => sub {
			$bench->fresh('bench');
			timed($bench, 'bench', 'app', $jobs, [ 1, $jobs ], <<~'SQL');
				SELECT count(*) FROM bgjob_enqueue_many('bench_noop', ARRAY(SELECT jsonb_build_object('id', i) FROM generate_series(%d, %d) i))
				SQL
		},
		map { my $spec = $_; ($spec->[0] => sub { graphile($bench, $jobs, $spec->[1]) }) } $bench->peers
		? ([ graphile => q(json_populate_record(null::graphile_worker.job_spec, json_build_object('identifier', 'noop', 'payload', json_build_object('id', i)))) ],
			[ 'graphile, specs as rows' => q(ROW('noop', json_build_object('id', i), NULL, NULL, NULL, NULL, NULL, NULL)::graphile_worker.job_spec) ])
		: ());
}

# graphile puts them in with specifications made by an expression: that of graphile.mjs, or a leaner one.
sub graphile
{
	my ($bench, $jobs, $spec) = @_;
	my $each = $bench->n(100_000);

	graphile_schema($bench);
	return timed($bench, 'peers', 'postgres', $jobs, (map { [ $_ * $each + 1, ($_ + 1) * $each ] } 0 .. $jobs / $each - 1), <<~"SQL");
		SELECT count(*) FROM graphile_worker.add_jobs(ARRAY(SELECT $spec FROM generate_series(%d, %d) i))
		SQL
}

# timed runs a statement once for each range of ids.
sub timed
{
	my ($bench, $db, $user, $jobs, @ranges) = @_;
	my $sql     = pop @ranges;
	my $session = $bench->session($db, $user);

	$bench->admin->rows('CHECKPOINT');
	my $meter = Bench::Meter->begin(bench => $bench, db => $db);
	my $began = time;
	$session->rows(sprintf $sql, @$_) for @ranges;
	my $took = time - $began;
	$meter->stop;
	return (rate => [ 'jobs/s', $jobs / $took ], $meter->costs($jobs));
}

1;
