# what batches and continuations cost: rates against independent jobs, a chain's links, a fan-in, and jobs that await something beside
package Case::compose;
use strict;
use warnings;
use Bench::Load;
use Time::HiRes qw(sleep time);

sub run
{
	my ($bench) = @_;
	my $jobs = $bench->n(100_000);

	$bench->alternate('compose',
		plain      => sub { rate($bench, $jobs) },
		batch      => sub { rate($bench, $jobs, batch => 1) },
		'twice as many' => sub { rate($bench, 2 * $jobs) },
		pairs      => sub { rate($bench, $jobs, pairs => 1) },
		beside     => sub { rate($bench, $jobs, awaiting => $jobs) });
	$bench->fresh('bench');
	$bench->alternate('compose',
		'groups'           => sub { rate($bench, $jobs, grouped => 1) },
		'groups in a batch' => sub { rate($bench, $jobs, grouped => 1, batch => 1) })
		if $bench->grouped('bench', 'group');
	$bench->alternate('compose', chain => sub { chain($bench, $bench->n(1000)) });
	$bench->alternate('compose', 'fan-in' => sub { fan_in($bench, $bench->n(10_000)) });
}

# rate drains jobs: in a batch, with a continuation each (pairs), in groups, or while others await a signal.
sub rate
{
	my ($bench, $jobs, %how) = @_;
	my $options = $how{grouped} ? q(, queue => 'g') : '';

	$bench->processing('off');
	$bench->fresh('bench');
	$bench->grouped('bench', 'group') if $how{grouped};
	my $app = $bench->session('bench', 'app');
	# The number is what an idle server knows; the signal never comes.
	$app->rows("SELECT count(*) FROM bgjob_enqueue_many('bench_noop', (SELECT array_agg('{\"id\": 0}'::jsonb) FROM generate_series(1, $how{awaiting})), after_signal => '{never}')") if $how{awaiting};
	$options .= ', batch => ' . $app->value(q{SELECT bgjob_batch('bench')}) if $how{batch};
	enqueue($bench, jobs => $jobs, options => $options);
	$app->rows(q{SELECT count(bgjob_enqueue('bench_noop', '{"id": 0}', after => ARRAY[id])) FROM bgjob.jobs}) if $how{pairs};
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	my $done = $how{pairs} ? 2 * $jobs : $jobs;
	my $rate = drain_window($bench, 'bench', $done);
	if ($how{batch})
	{
		my $batch = join ' ', $app->row('SELECT state, total, pending, processing, succeeded FROM bgjob.batches');
		die "the batch is $batch\n" unless $batch eq "succeeded $jobs 0 0 $jobs";
	}
	return (rate => [ 'jobs/s', $rate ]);
}

# chain runs jobs each of which awaits the one before it: the median time from the end of one to the start of the next.
sub chain
{
	my ($bench, $links) = @_;

	$bench->processing('off');
	$bench->fresh('bench');
	my $app = $bench->session('bench', 'app');
	$app->rows(<<~"SQL");
		DO \$\$ DECLARE j bigint; BEGIN
			FOR i IN 1..$links LOOP j := bgjob_enqueue('bench_noop', '{"id": 0}', after => CASE WHEN j IS NOT NULL THEN ARRAY[j] END); END LOOP;
		END \$\$
		SQL
	$bench->processing('on');
	$bench->wait_for(60, 'the chain has run', sub { $app->value(q{SELECT count(*) FROM bgjob.jobs WHERE state <> 'succeeded'}) == 0 });
	$bench->processing('off');
	my ($p50, $p99) = $app->row(<<~'SQL');
		SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY link), percentile_cont(0.99) WITHIN GROUP (ORDER BY link) FROM (
			SELECT extract(epoch FROM started_at - lag(finished_at) OVER (ORDER BY id)) * 1e6 AS link FROM bgjob.jobs) l
		SQL
	return (p50 => [ 'us', $p50 ], p99 => [ 'us', $p99 ]);
}

# fan_in enqueues a job after many, and measures that, and how long after the end of the last one it starts.
sub fan_in
{
	my ($bench, $parents) = @_;

	$bench->processing('off');
	$bench->fresh('bench');
	my $app = $bench->session('bench', 'app');
	enqueue($bench, jobs => $parents);
	my $began = time;
	my $child = $app->value(q{SELECT bgjob_enqueue('bench_noop', '{"id": 0}', after => (SELECT array_agg(id) FROM bgjob.jobs))});
	my $call = (time - $began) * 1000;
	$bench->processing('on');
	$bench->wait_for(60, 'the last job has run', sub { $app->value("SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $child") eq 't' });
	$bench->processing('off');
	my $released = $app->value("SELECT extract(epoch FROM (SELECT at FROM bgjob.job_states WHERE job_id = $child AND state = 'enqueued') - max(finished_at)) * 1000 FROM bgjob.jobs WHERE id <> $child");
	return (call => [ 'ms', $call ], released => [ 'ms', $released ]);
}

1;
