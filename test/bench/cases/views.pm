# what reading costs with 10,000,000 finished jobs, 1,000,000 scheduled, 1,000,000 enqueued in a paused queue and 2,000 failed: blocks and time
package Case::views;
use strict;
use warnings;
use Bench::Load;
use JSON::PP;

use constant CREATED => 'CREATE FUNCTION bench_%s(args jsonb) RETURNS void LANGUAGE sql AS $$ SELECT $$';

sub run
{
	my ($bench) = @_;
	my ($finished, $waiting, $failed, $recurring) = map { $bench->n($_) } 10_000_000, 1_000_000, 2_000, 10_000;

	$bench->settings('bgjob.retention' => '-1');
	$bench->processing('off');
	$bench->fresh('bench');
	my $admin = $bench->session('bench');
	$admin->rows("DO \$\$ BEGIN CREATE ROLE tenant$_ LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$"), $admin->rows("GRANT USAGE ON SCHEMA bgjob TO tenant$_") for 1 .. 9;
	$bench->progress('views: filling');
	models($bench, $admin);
	finished($bench, $admin, $finished, $finished / $failed);
	waiting($bench, $admin, $waiting);
	for my $share ([ $admin, 9 ], [ $bench->session('bench', 'app'), 1 ])
	{
		my ($owner, $tenths) = @$share;
		$owner->rows("SELECT bgjob_recurring('r' || i, '0 4 * * *', 'bench_noop'), bgjob_recurring_trigger('r' || i) FROM generate_series(1, $recurring * $tenths / 10) i");
	}
	$admin->rows('SELECT bgjob_adopt()');
	$admin->rows('VACUUM ANALYZE');
	# The scheduler counts and maps them; nothing can run.
	$bench->processing('on');
	$bench->wait_for(900, 'the jobs are counted', sub { sleep 1; defined $admin->value('SELECT enqueued FROM bgjob.stats') });
	$bench->wait_for(900, 'the jobs are mapped', sub { sleep 1; my %cost = cost($admin, q(SELECT * FROM bgjob_list('awaiting'))); $cost{blocks}[1] < 4000 });
	my %sample = sample($admin);
	for my $reader ([ superuser => $admin ], [ 'one in ten' => $bench->session('bench', 'app') ])
	{
		my ($name, $session) = @$reader;
		for my $query (queries(%sample))
		{
			my ($what, $sql) = @$query;
			$bench->record('views', "$what, $name", cost($session, $sql));
		}
		$bench->progress("views: measured as $name");
	}
}

# models has a job of each of three functions performed, whose rows are multiplied: bench_noop, bench_other, and bench_rare.
sub models
{
	my ($bench, $admin) = @_;

	$admin->rows(sprintf CREATED, $_) for 'other', 'rare';
	$admin->rows("SELECT bgjob_enqueue('$_', '{}', run_as => 'app')") for 'bench_noop', 'bench_other', 'bench_rare';
	$bench->processing('on');
	$bench->wait_for(60, 'the models are done', sub { stats($bench)->{succeeded} == 3 });
	$bench->processing('off');
}

# finished multiplies them: of ten roles, half of each function but for a rare one, one in so many failed, some deleted; ten
# queues of which one is rare.
sub finished
{
	my ($bench, $admin, $many, $one_in) = @_;
	my $columns = $admin->value(<<~'SQL');
		SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'bgjob_internal.job'::regclass AND attnum > 0
			AND attname NOT IN ('id', 'pos', 'run_as', 'queue', 'state', 'call_id') AND NOT attisdropped
		SQL
	my @calls = map { $admin->value("SELECT call_id FROM bgjob_internal.job JOIN bgjob_internal.settings s ON s.id = call_id WHERE s.settings->>'job' LIKE '%$_%'") } qw(noop other rare);

	for (my $done = 0; $done < $many; $done += 1_000_000)
	{
		my $n = $many - $done < 1_000_000 ? $many - $done : 1_000_000;
		$admin->rows(<<~"SQL");
			INSERT INTO bgjob_internal.job (id, pos, run_as, queue, state, call_id, $columns)
			SELECT i, i, CASE i % 10 WHEN 0 THEN 'app' ELSE 'tenant' || i % 10 END::regrole,
				CASE WHEN i % 100003 = 0 THEN 'rare' ELSE 'q' || i % 9 END,
				CASE WHEN i % $one_in = (i / $one_in) % 10 THEN 'f' WHEN i % 50021 = 0 THEN 'd' ELSE 'k' END::"char",
				CASE WHEN i % 100019 = 0 THEN $calls[2] WHEN i / 10 % 2 = 0 THEN $calls[0] ELSE $calls[1] END, $columns
			FROM (SELECT nextval('bgjob_internal.job_id_seq') AS i FROM generate_series(1, $n)) ids,
				(SELECT * FROM bgjob_internal.job ORDER BY job.id LIMIT 1) model
			SQL
		$bench->progress(sprintf '  %d of %d', $done + $n, $many);
	}
}

# waiting adds jobs that are scheduled far ahead, and jobs in a paused queue, a tenth of each of every role.
sub waiting
{
	my ($bench, $admin, $many) = @_;

	$admin->rows("SELECT bgjob_queue('paused', paused => true)");
	for my $options (q(, delay => '30 days'), q(, queue => 'paused'))
	{
		my $each = int $many / 10;
		$admin->rows(<<~"SQL") for 'app', map { "tenant$_" } 1 .. 9;
			SELECT count(*) FROM bgjob_enqueue_many('bench_noop', (SELECT array_agg('{}'::jsonb) FROM generate_series(1, $each))$options, run_as => '$_')
			SQL
	}
}

# sample finds the ids that the queries are about: each of a job that role app sees.
sub sample
{
	my ($admin) = @_;
	my %ids;

	for my $state (qw(enqueued scheduled succeeded))
	{
		$ids{$state} = $admin->value(<<~"SQL");
			SELECT id FROM bgjob_internal.job WHERE run_as = 'app'::regrole AND bgjob_internal.state_name(state) = '$state' ORDER BY id DESC OFFSET 20000 LIMIT 1
			SQL
	}
	@ids{qw(low high)} = $admin->row("SELECT min(id), max(id) FROM bgjob_internal.job WHERE run_as = 'app'::regrole");
	my ($middle) = $admin->row("SELECT id FROM bgjob_internal.job WHERE id > ($ids{low} + $ids{high}) / 2 AND run_as = 'app'::regrole ORDER BY id LIMIT 1");
	return (%ids, middle => $middle);
}

# queries are those of the goals: what each is called, and its text. A thousandth page is a page that begins 20,000 jobs further.
sub queries
{
	my (%ids) = @_;
	my @list = ([ 'jobs by id', "SELECT * FROM bgjob.jobs WHERE id = $ids{middle}" ],
		[ 'job_states by id', "SELECT * FROM bgjob.job_states WHERE job_id = $ids{middle}" ],
		[ 'job_logs by id', "SELECT * FROM bgjob.job_logs WHERE job_id = $ids{middle}" ],
		[ 'newest 20', 'SELECT * FROM bgjob.jobs ORDER BY id DESC LIMIT 20' ],
		[ 'all failed', q(SELECT * FROM bgjob.jobs WHERE state = 'failed') ]);

	for (qw(enqueued scheduled awaiting processing succeeded failed deleted))
	{
		push @list, [ "list $_", "SELECT * FROM bgjob_list('$_')" ],
			[ "list $_, 1000th page", "SELECT * FROM bgjob_list('$_', before_id => " . ($ids{$_} // $ids{middle}) . ')' ];
	}
	push @list, [ 'list of a rare queue', q(SELECT * FROM bgjob_list(queue => 'rare')) ], [ 'list of a queue', "SELECT * FROM bgjob_list(queue => 'q1')" ],
		[ 'list of a rare function', q(SELECT * FROM bgjob_list(job => 'bench_rare')) ], [ 'list of a function, far down', "SELECT * FROM bgjob_list(job => 'bench_other', before_id => $ids{middle})" ];
	push @list, map { [ $_, "SELECT * FROM bgjob.$_" ] } qw(queues stats recurring_jobs);
	push @list, [ 'why', "SELECT * FROM bgjob_why($ids{high})" ];
	return @list;
}

# cost runs a query three times and takes the last: the blocks that it read from the buffers or the disk, rows, milliseconds with planning.
sub cost
{
	my ($session, $sql) = @_;
	my $plan;

	$plan = decode_json(join "\n", map { $_->[0] } $session->rows("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) $sql"))->[0] for 1 .. 3;
	return (blocks => [ '', $plan->{Plan}{'Shared Hit Blocks'} + $plan->{Plan}{'Shared Read Blocks'} ], rows => [ '', $plan->{Plan}{'Actual Rows'} ],
		time => [ 'ms', $plan->{'Execution Time'} + $plan->{'Planning Time'} ]);
}

1;
