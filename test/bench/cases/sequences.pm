# sequences: 1,000,000 keys with one job each, and 1,000 keys of 100 jobs, against the same jobs without keys
package Case::sequences;
use strict;
use warnings;
use Bench::Load;

sub run
{
	my ($bench) = @_;
	my ($many, $some) = ($bench->n(1_000_000), $bench->n(100_000));

	$bench->alternate('sequences',
		'100,000 plain' => sub { rate($bench, $some, $some) },
		'1,000 keys' => sub { rate($bench, $some, $bench->n(1000), q(, sequence_key => '{id}')) },
		'1,000,000 plain' => sub { rate($bench, $many, $many) },
		'1,000,000 keys' => sub { rate($bench, $many, $many, q(, sequence_key => '{id}')) });
}

# rate drains jobs with ids from 0 to keys - 1, one key after the other and again; dies if the order of a key was not that of its jobs.
sub rate
{
	my ($bench, $jobs, $keys, $options) = @_;

	$options //= '';
	$bench->processing('off');
	$bench->fresh('bench');
	my $app = $bench->session('bench', 'app');
	$app->rows("SELECT count(*) FROM bgjob_enqueue_many('bench_noop', (SELECT array_agg(jsonb_build_object('id', i % $keys)) FROM generate_series($_ * 100000 + 1, least(($_ + 1) * 100000, $jobs)) i)$options)")
		for 0 .. int(($jobs - 1) / 100_000);
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	my $rate = drain_window($bench, 'bench', $jobs);
	my $disorder = $app->value(<<~'SQL');
		SELECT count(*) FROM (SELECT started_at < lag(finished_at) OVER (PARTITION BY sequence_key ORDER BY id) AS wrong FROM bgjob.jobs WHERE sequence_key IS NOT NULL) x WHERE wrong
		SQL
	die "$disorder jobs have started before the job ahead of them had ended\n" if $disorder;
	return (rate => [ 'jobs/s', $rate ]);
}

1;
