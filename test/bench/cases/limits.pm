# limits: what they cost where they never bind, a mutex, many keys of a pattern, jobs that wait beside; whether rates are exact
package Case::limits;
use strict;
use warnings;
use Bench::Load;
use Time::HiRes qw(sleep time);

sub run
{
	my ($bench) = @_;
	my $jobs = $bench->n(100_000);
	my $tenth = $bench->n(20_000);
	my $busy = q(bgjob_limit('busy', max_running => 1000));
	my $fast = q(bgjob_limit('fast', rate => 1000000, per => '1 s'));

	$bench->fresh('bench');
	return $bench->skip('limits', 'the extension has no bgjob_limit() yet') unless $bench->has_function('bench', 'bgjob_limit');
	$bench->alternate('limits',
		plain => sub { rate($bench, $jobs) },
		'max_running 1,000' => sub { rate($bench, $jobs, configure => $busy, options => q(, limits => '{busy}')) },
		'rate 1,000,000' => sub { rate($bench, $jobs, configure => $fast, options => q(, limits => '{fast}')) },
		'two limits' => sub { rate($bench, $jobs, configure => "$busy, $fast", options => q(, limits => '{busy,fast}')) },
		tenants => sub { rate($bench, $jobs, configure => q(bgjob_limit('tenant:*', max_running => 1)), options => q(, limits => ARRAY['tenant:{id}']), keys => $bench->n(10_000)) },
		beside => sub { rate($bench, $jobs, configure => q(bgjob_limit('mutex', max_running => 0)), waiting => $jobs) });
	$bench->alternate('limits',
		'one worker' => sub { serial($bench, $tenth, workers => 1) },
		mutex => sub { serial($bench, $tenth, configure => q(bgjob_limit('mutex', max_running => 1)), options => q(, limits => '{mutex}')) });
	my $seconds = int $bench->seconds(30) || 1;
	$bench->alternate('limits', map { my $algorithm = $_; ($algorithm => sub { starts($bench, $seconds, $algorithm) }) } 'fixed_window', 'sliding_window', 'token_bucket');
}

# prepare makes a fresh database with the limits (configure: calls of functions).
sub prepare
{
	my ($bench, %how) = @_;

	$bench->processing('off');
	$bench->fresh('bench');
	$bench->session('bench')->rows("SELECT $how{configure}") if $how{configure};
}

# rate drains jobs: with ids from 1 to keys, or while others wait for the mutex.
sub rate
{
	my ($bench, $jobs, %how) = @_;
	my $app;

	prepare($bench, %how);
	$app = $bench->session('bench', 'app');
	# They wait at a limit that lets nobody run: with a long job of its holder, the role would get fewer workers.
	enqueue($bench, jobs => $how{waiting}, options => q(, limits => '{mutex}')) if $how{waiting};
	if ($how{keys})
	{
		$app->rows("SELECT count(*) FROM bgjob_enqueue_many('bench_noop', (SELECT array_agg(jsonb_build_object('id', i % $how{keys})) FROM generate_series(1, $jobs) i)$how{options})");
	}
	else
	{
		enqueue($bench, jobs => $jobs, options => $how{options} // '');
	}
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	my $rate = drain_window($bench, 'bench', $jobs);
	return (rate => [ 'jobs/s', $rate ]);
}

# serial drains jobs one after the other: their rate, and the time from the end of one to the start of the next one. The end is noted before
# the commit, so the time has the flush of the commit in it.
sub serial
{
	my ($bench, $jobs, %how) = @_;

	$bench->settings('bgjob.workers' => $how{workers} // 10);
	prepare($bench, %how);
	enqueue($bench, jobs => $jobs, options => $how{options} // '');
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	my $rate = drain_window($bench, 'bench', $jobs);
	my ($p50, $p99, $overlap, $disorder) = $bench->session('bench')->row(<<~'SQL');
		SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY gap), percentile_cont(0.99) WITHIN GROUP (ORDER BY gap), count(*) FILTER (WHERE gap < 0), count(*) FILTER (WHERE before > id)
		FROM (SELECT extract(epoch FROM started_at - lag(finished_at) OVER w) * 1e6 AS gap, id, lag(id) OVER w AS before FROM bgjob.jobs WINDOW w AS (ORDER BY started_at)) l
		SQL
	die "$overlap jobs ran while another one did, $disorder were out of order\n" if $overlap || $disorder;
	return (rate => [ 'jobs/s', $rate ], p50 => [ 'us', $p50 ], p99 => [ 'us', $p99 ]);
}

# starts has more jobs than a rate of 1,000 per s allows, and counts the starts in per cent of what is allowed: in all, and in the fullest window.
# A bucket that is full at first allows a second's worth more in any interval.
sub starts
{
	my ($bench, $seconds, $algorithm) = @_;
	my $rate = 1000;

	prepare($bench, configure => "bgjob_limit('rate', rate => $rate, per => '1 s', algorithm => '$algorithm')");
	enqueue($bench, jobs => ($seconds + 3) * $rate, options => q(, limits => '{rate}'));
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	$bench->processing('on');
	my $done = sub { stats($bench)->{succeeded} };
	$bench->wait_for(60, 'jobs are performed', sub { $done->() > 0 });
	sleep $seconds + 1;
	$bench->processing('off');
	my $bucket = $algorithm eq 'token_bucket';
	my $allowed = $rate * $seconds + ($bucket ? $rate : 0);
	my $starts = $bench->session('bench')->value("SELECT count(*) FROM bgjob.jobs, (SELECT min(started_at) AS first FROM bgjob.jobs) f WHERE started_at < first + interval '$seconds s'");
	my $most = $bench->session('bench')->value($algorithm eq 'fixed_window'
		? q{SELECT max(n) FROM (SELECT count(*) AS n FROM bgjob.jobs WHERE started_at IS NOT NULL GROUP BY date_bin('1 s', started_at, '2000-01-01 00:00:00+00')) x}
		: q{SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY started_at RANGE BETWEEN '0.999999 s' PRECEDING AND CURRENT ROW) AS n FROM bgjob.jobs WHERE started_at IS NOT NULL) x});
	my $in_window = $bucket ? 2 * $rate : $rate;
	return (starts => [ '%', 100 * $starts / $allowed ], most => [ '%', 100 * $most / $in_window ]);
}

1;
