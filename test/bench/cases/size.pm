# the rate with 10,000,000 jobs enqueued, scheduled far ahead, or finished: against an empty database
package Case::size;
use strict;
use warnings;
use Bench::Load;

use constant JOB_BYTES => 500;              # of one job on the disk, with indexes, generously
use constant RESERVE   => 4_000_000_000;    # WAL, and whatever else needs room

sub run
{
	my ($bench) = @_;
	my $many = what_fits($bench, $bench->n(10_000_000));
	my $jobs = $bench->n(50_000);

	$bench->settings('bgjob.retention' => '-1');
	for my $kind ('enqueued', 'scheduled', 'finished')
	{
		$bench->processing('off');
		$bench->fresh('bench');
		$bench->fresh('big', beside => 1);
		fill($bench, $kind, $many);
		$bench->alternate('size',
			"$kind: empty" => sub { (rate => [ 'jobs/s', rate($bench, 'bench', $jobs, $jobs) ]) },
			$kind => sub {
				my $add = $kind eq 'enqueued' ? 0 : $jobs;
				return (rate => [ 'jobs/s', rate($bench, 'big', $add, $add || 2 * $jobs) ], jobs => [ '', $many ]);
			});
	}
	$bench->processing('off');
	$bench->fresh('bench');
}

# what_fits is the number of jobs that the disk has room for, at most the one wanted; says so if it is less.
sub what_fits
{
	my ($bench, $wanted) = @_;
	my ($free) = map { (split)[3] * 1024 } (`df -Pk '$bench->{dir}'`)[1];
	my $fits = int(($free - RESERVE) / JOB_BYTES);

	return $wanted if $fits >= $wanted;
	die "the disk is too full\n" if $fits < 10000;
	$bench->progress("size: $fits jobs instead of $wanted: the disk has no room for more");
	return $fits;
}

# fill puts the many jobs into "big".
sub fill
{
	my ($bench, $kind, $many) = @_;

	$bench->progress("size: filling with $many jobs, $kind");
	finished($bench, $many) if $kind eq 'finished';
	enqueue($bench, db => 'big', jobs => $many, options => $kind eq 'scheduled' ? q(, delay => '30 days') : '') unless $kind eq 'finished';
	$bench->session('big')->rows('VACUUM ANALYZE');
	$bench->progress('size: the database has ' . $bench->admin->value(q(SELECT pg_size_pretty(pg_database_size('big')))));
}

# finished multiplies the row of a job that has really been performed, whatever its columns are: performing ten million
# would take the better part of an hour, and their rows would be the same.
sub finished
{
	my ($bench, $many) = @_;
	my $big = $bench->session('big');

	enqueue($bench, db => 'big', jobs => 1);
	$bench->processing('on');
	$bench->wait_for(60, 'the model job is done', sub { stats($bench, 'big')->{succeeded} == 1 });
	$bench->processing('off');
	my $columns = $big->value(<<~'SQL');
		SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = 'bgjob_internal.job'::regclass AND attnum > 0 AND attname NOT IN ('id', 'pos') AND NOT attisdropped
		SQL
	for (my $done = 0; $done < $many; $done += 1_000_000)
	{
		my $n = $many - $done < 1_000_000 ? $many - $done : 1_000_000;
		$big->rows(<<~"SQL");
			INSERT INTO bgjob_internal.job (id, pos, $columns)
			SELECT i, i, $columns FROM (SELECT nextval('bgjob_internal.job_id_seq') AS i FROM generate_series(1, $n)) ids,
				(SELECT * FROM bgjob_internal.job ORDER BY job.id LIMIT 1) model
			SQL
		$bench->progress(sprintf '  %d of %d', $done + $n, $many);
	}
}

# rate drains so many jobs of a database, after adding some, with bgjob in that database alone.
sub rate
{
	my ($bench, $db, $add, $drain) = @_;

	$bench->processing('off');
	$bench->settings('bgjob.databases' => $db);
	if ($add)
	{
		enqueue($bench, db => $db, jobs => $add);
		$bench->session($db)->rows('VACUUM ANALYZE');
	}
	$bench->admin->rows('CHECKPOINT');
	return drain_window($bench, $db, $drain);
}

1;
