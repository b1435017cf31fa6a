# The goals, and whether the results reach them.
#
# Each is: the case; the goal in words; a sub over the results that returns the figure, or nothing if it was not measured
# (the result is "not measured" then); the limit; and how the figure is printed. A figure reaches a limit ">= 4", "> 4", "<= 2" or "< 2".
package Bench::Goals;
use strict;
use warnings;
use utf8;

my @goals = (
	[ drain => 'single no-op jobs: at least 4 × graphile-worker by default', ratio('drain', 'bgjob', 'drain', 'graphile'), '>=', 4, '%.2f ×' ],
	[ group => 'groups of 200: at least 2.5 × graphile-worker, batched', ratio('group', 'bgjob', 'group', 'graphile batched'), '>=', 2.5, '%.2f ×' ],
	[ group => 'groups of 200: more than one session of floor.sql', ratio('group', 'bgjob', 'group', 'floor'), '>=', 1, '%.2f ×' ],
	[ update => 'with an UPDATE in each job, the advantage over graphile-worker by default does not fall (same driver)',
		kept('drain', 'graphile, own driver', 'bgjob'), '>=', 1, '%.2f of it' ],
	[ update => 'with an UPDATE in each job, the advantage of groups over graphile-worker, batched, does not fall (same driver)',
		kept('group', 'graphile batched, own driver', 'bgjob group'), '>=', 1, '%.2f of it' ],
	[ pickup => 'pickup after commit: p50 at most a third of graphile-worker\'s',
		sub { quotient($_[0]->median('pickup', 'bgjob', 'p50'), $_[0]->median('pickup', 'graphile', 'p50')) }, '<=', 1 / 3, '%.3f of it' ],
	[ pickup => 'pickup after commit: p50 at most 150 µs', figure('pickup', 'bgjob', 'p50'), '<=', 150, '%.0f µs' ],
	[ pickup => 'pickup after commit: p99 at most 0.5 ms', figure('pickup', 'bgjob', 'p99'), '<=', 500, '%.0f µs' ],
	[ enqueue => 'an enqueue per transaction: at least 85 % of a plain INSERT', percent('enqueue', 'bgjob', 'enqueue', 'insert'), '>=', 85, '%.1f %%' ],
	[ enqueue => 'the same, both as prepared statements', percent('enqueue', 'bgjob, prepared', 'enqueue', 'insert, prepared'), '>=', 85, '%.1f %%' ],
	[ many => 'a million, 100,000 in a statement: at least 3 × graphile-worker\'s add_jobs, called as graphile.mjs does', ratio('many', 'bgjob', 'many', 'graphile'), '>=', 3, '%.2f ×' ],
	[ many => 'the same, where bgjob is given all in one statement', ratio('many', 'bgjob, one statement', 'many', 'graphile'), '>=', 3, '%.2f ×' ],
	[ many => 'the same, where add_jobs is given its specifications as rows, which is cheaper', ratio('many', 'bgjob', 'many', 'graphile, specs as rows'), '>=', 3, '%.2f ×' ],
	(map {
		my $name = $_;
		map {
			my ($part, $when) = @$_;
			[ snapshot => "$name, an old snapshot held: at least 90 % of the rate without, at the $when of the minute", held($name, $part), '>=', 90, '%.1f %%' ]
		} [ 'begin', 'beginning' ], [ 'end', 'end' ]
	} 'bgjob', 'bgjob group'),
	(map {
		my ($metric, $what) = @$_;
		[ deadrows => "10,000,000 dead rows held by a snapshot, single jobs: $what of the pickup at most twice that without the snapshot",
			sub { quotient($_[0]->median('deadrows', 'bgjob held', $metric), $_[0]->median('deadrows', 'bgjob free', $metric)) }, '<=', 2, '%.2f ×' ]
	} [ 'p99', 'the p99' ], [ 'max', 'the longest' ]),
	(map {
		my ($part, $when) = @$_;
		[ held => "an old snapshot held for ten minutes: at least 90 % of the rate without, in the $when minute", held('bgjob', $part, 'held'), '>=', 90, '%.1f %%' ]
	} [ 'begin', 'first' ], [ 'end', 'last' ]),
	[ held => 'an old snapshot held for ten minutes: no second below 80 % of the rate without',
		sub { hundred(quotient($_[0]->median('held', 'bgjob held', 'lowest'), $_[0]->median('held', 'bgjob free', 'rate'))) }, '>=', 80, '%.1f %%' ],
	[ compose => '100,000 jobs in a batch: at least 85 % of the rate without', percent('compose', 'batch', 'compose', 'plain'), '>=', 85, '%.1f %%' ],
	[ compose => 'the same in groups: at least 80 %', percent('compose', 'groups in a batch', 'compose', 'groups'), '>=', 80, '%.1f %%' ],
	[ compose => '100,000 jobs with one continuation each: at least 80 % of the rate of 200,000 independent ones', percent('compose', 'pairs', 'compose', 'twice as many'), '>=', 80, '%.1f %%' ],
	[ compose => '100,000 jobs await a signal beside: at least 95 % of the rate', percent('compose', 'beside', 'compose', 'plain'), '>=', 95, '%.1f %%' ],
	[ compose => 'a chain of 1,000: from the end of a job to the start of the next, median', figure('compose', 'chain', 'p50'), '<=', 300, '%.0f us' ],
	[ compose => 'one job after 10,000: enqueued', figure('compose', 'fan-in', 'call'), '<=', 200, '%.0f ms' ],
	[ compose => 'one job after 10,000: released after the last one', figure('compose', 'fan-in', 'released'), '<=', 5, '%.1f ms' ],
	(map {
		my ($variant, $what, $limit) = @$_;
		[ limits => "100,000 jobs under $what: at least $limit % of the rate without", percent('limits', $variant, 'limits', 'plain'), '>=', $limit, '%.1f %%' ]
	} [ 'max_running 1,000', 'a limit that never binds, max_running 1,000', 90 ], [ 'rate 1,000,000', 'a limit that never binds, 1,000,000 per s', 90 ],
		[ 'two limits', 'both of these', 85 ], [ 'tenants', 'limits tenant:*, 10,000 keys with max_running 1', 70 ], [ 'beside', 'none, while 100,000 others wait for a mutex', 95 ]),
	[ limits => 'no-op jobs under a mutex: at least 80 % of the rate of a pool with one worker', percent('limits', 'mutex', 'limits', 'one worker'), '>=', 80, '%.1f %%' ],
	[ limits => 'a mutex: from the end of a job to the start of the next one, median', figure('limits', 'mutex', 'p50'), '<=', 300, '%.0f us' ],
	(map {
		my $variant = $_;
		([ limits => "1,000 per s for 30 s, $variant: the most starts in a window, against what is allowed", figure('limits', $variant, 'most'), '<=', 100, '%.2f %%' ],
			[ limits => "1,000 per s for 30 s, $variant: starts, against what is allowed", figure('limits', $variant, 'starts'), '>=', 97, '%.2f %%' ])
	} 'fixed_window', 'sliding_window', 'token_bucket'),
	[ sequences => '1,000,000 keys with one job each: at least 70 % of the rate without', percent('sequences', '1,000,000 keys', 'sequences', '1,000,000 plain'), '>=', 70, '%.1f %%' ],
	[ sequences => '1,000 keys of 100 jobs: at least 70 % of the rate without', percent('sequences', '1,000 keys', 'sequences', '100,000 plain'), '>=', 70, '%.1f %%' ],
	(map {
		my ($variant, $what) = @$_;
		[ fairness => "a client of a light key beside $what: it waits at most twice as long as alone", sub { quotient($_[0]->median('fairness', $variant, 'wait'), $_[0]->median('fairness', 'alone', 'wait')) }, '<=', 2, '%.2f ×' ]
	} [ 'flood', 'a flood of 100,000 jobs of one key' ], [ 'flood of 1,000 keys', 'a flood over 1,000 keys' ]),
	(map {
		my ($sign, $limit) = @$_;
		[ fairness => "weights 1 : 3: the share of the greater weight is within 10 % of three quarters ($sign $limit %)", figure('fairness', 'weights', 'share'), $sign, $limit, '%.1f %%' ]
	} [ '>=', 67.5 ], [ '<=', 82.5 ]),
	[ lanes => 'another role has 200,000 lanes: at least 90 % of the rate while it has one', percent('lanes', '200,000 lanes', 'lanes', 'one lane'), '>=', 90, '%.1f %%' ],
	(map {
		[ lanes => "another role has 200,000 lanes: $_ jobs start at most 100 ms late", figure('lanes', '200,000 lanes', "late_$_"), '<=', 100, '%.0f ms' ]
	} 'due', 'recurring'),
	(map {
		[ size => "10,000,000 jobs $_: at least 90 % of the rate of an empty database", percent('size', $_, 'size', "$_: empty"), '>=', 90, '%.1f %%' ]
	} 'enqueued', 'scheduled', 'finished'),
	(map {
		[ blocked => "100,000 jobs that cannot run, $_: at least 95 % of the rate without", percent('blocked', $_, 'blocked', 'without'), '>=', 95, '%.1f %%' ]
	} 'scheduled', 'paused'),
	(map { reading(@$_) } [ [ 'jobs by id' ], 60, 1 ], [ [ 'job_states by id', 'job_logs by id' ], 200, 1 ], [ ['newest 20'], 500, 5 ],
		[ [ map { ("list $_", "list $_, 1000th page") } qw(enqueued scheduled awaiting processing succeeded failed deleted) ], 4000, 50 ],
		[ [ 'list of a rare queue', 'list of a queue', 'list of a rare function', 'list of a function, far down' ], 4000, 50 ],
		[ ['all failed'], undef, 50 ], [ [qw(queues stats)], 500, 10 ], [ ['recurring_jobs'], undef, 10 ], [ ['why'], 500, 5 ]),
	(map {
		my $variant = "all failed, $_";
		[ views => "$variant: at most 10 blocks for each job", sub { my ($results) = @_; quotient(map { $results->median('views', $variant, $_) } 'blocks', 'rows') }, '<=', 10, '%.1f' ]
	} 'superuser', 'one in ten'),
	(map {
		my ($variant, $how) = @$_;
		map { [ external => "external jobs, one at a time, $how, clients: $_: at least 2 × graphile-worker by default", ratio('external', "$variant $_", 'external', "graphile $_"), '>=', 2, '%.2f ×' ] } 1, 4, 16
	} [ 'bgjob pipelined', 'completion and next fetch in one message as bgjob-worker sends them' ], [ 'bgjob', 'each in a message of its own' ]),
	(map {
		my $clients = $_;
		([ external_groups => "external jobs in groups of 100, clients: $clients: at least 1.5 × graphile-worker, batched", ratio('external_groups', "bgjob $clients", 'external_groups', 'graphile batched'), '>=', 1.5, '%.2f ×' ],
			[ external_groups => "external jobs in groups of 100, clients: $clients: above 30,000/s where graphile-worker, batched, reaches 20,000",
				sub {
					my ($ours, $peer) = map { $_[0]->median('external_groups', $_, 'rate') } "bgjob $clients", 'graphile batched';
					return defined $ours && defined $peer && $peer >= 20_000 ? $ours : undef;
				}, '>', 30_000, '%.0f/s' ])
	} 1, 2, 4),
	[ external_pickup => 'pickup through bgjob_await(): p50 at most 1.5 ms', figure('external_pickup', 'bgjob', 'p50'), '<=', 1500, '%.0f µs' ],
	[ external_pickup => 'pickup through bgjob_await(): p50 below graphile-worker\'s',
		sub { quotient($_[0]->median('external_pickup', 'bgjob', 'p50'), $_[0]->median('external_pickup', 'graphile', 'p50')) }, '<', 1, '%.2f of it' ],
	(map {
		[ external_waiting => "1,000 sessions in bgjob_await(), jobs: $_: no more sessions wake", figure('external_waiting', "$_ at once", 'woken'), '<=', $_, '%.0f' ]
	} 1, 10),
	(map {
		my ($name, $what) = @$_;
		map {
			my ($part, $when) = @$_;
			[ external_held => "external jobs, $what, an old snapshot held: at least 90 % of the rate without, at the $when of the minute",
				held($name, $part, 'external_held'), '>=', 90, '%.1f %%' ]
		} [ 'begin', 'beginning' ], [ 'end', 'end' ]
	} [ 'bgjob', 'one at a time' ], [ 'bgjob groups', 'in groups of 100' ]),
	(map {
		[ external_worker => "$_, with handlers that stay: less than 20 µs of its own CPU for a job", figure('external_worker', $_, 'program'), '<', 20, '%.1f µs' ]
	} 'bgjob-worker', 'bgjob-worker, on one processor'),
	[ retention => 'retention of 5 s: the table stays bounded (its greatest size in the last minute against the first)',
		sub { my ($results) = @_; quotient(map { $results->median('retention', 'bgjob', $_) } 'max_last', 'max_first') }, '<=', 1.5, '%.2f ×' ],
	[ retention => 'retention of 5 s: the rate is flat (last minute against the first)',
		sub { my ($results) = @_; hundred(quotient(map { $results->median('retention', 'bgjob', $_) } 'last', 'first')) }, '>=', 90, '%.1f %%' ],
	[ scale => 'two roles with the same work end at a similar time (the later against the sooner)',
		sub {
			my ($x, $y) = sort { $a <=> $b } grep { defined } map { $_[0]->median('scale', 'two roles', "took_$_") } 'app', 'other';
			return quotient($y, $x);
		}, '<=', 1.25, '%.2f ×' ],
	[ idle => '20 idle workers: no transactions', figure('idle', 'bgjob', 'transactions'), '<=', 0, '%.0f a minute' ],
	[ idle => '20 idle workers: no CPU', figure('idle', 'bgjob', 'cpu'), '<=', 0, '%.0f ticks (10 ms) a minute' ],
	[ memory => 'a worker has at most 2 MB more private memory than a bare background worker',
		sub {
			my ($x, $y) = map { $_[0]->median('memory', $_, 'private') } 'after one job', 'bare';
			return defined $x && defined $y ? $x - $y : undef;
		}, '<=', 2048, '%.0f kB' ],
	[ memory => 'it stays flat over a million jobs (growth from the first fifth to the last fifth of a worker\'s life)',
		figure('memory', 'over a million', 'growth'), '<=', 128, '%.0f kB' ],
);

# judge returns for each goal: case, words, the figure as text or undef, and the verdict.
sub judge
{
	my ($results) = @_;
	my @judged;

	for my $goal (@goals)
	{
		my ($case, $words, $sub, $relation, $limit, $format) = @$goal;
		my $figure  = $sub->($results);
		my %reached = defined $figure ? ('>=' => $figure >= $limit, '>' => $figure > $limit, '<=' => $figure <= $limit, '<' => $figure < $limit) : ();
		my $verdict = !defined $figure ? 'not measured' : $reached{$relation} ? 'reached' : 'NOT REACHED';
		push @judged, [ $case, $words, defined $figure ? sprintf($format, $figure) : '', $verdict ];
	}
	return @judged;
}

# figure is a goal's sub for one figure.
sub figure
{
	my @place = @_;

	return sub { $_[0]->median(@place) };
}

# reading is the goals of some queries of the case "views", as both readers: at most so many blocks (undef: no such goal) and milliseconds.
sub reading
{
	my ($queries, $blocks, $ms) = @_;

	return map {
		my $variant = $_;
		(defined $blocks ? [ views => "$variant: at most $blocks blocks", figure('views', $variant, 'blocks'), '<=', $blocks, '%.0f' ] : (),
			[ views => "$variant: at most $ms ms", figure('views', $variant, 'time'), '<=', $ms, '%.2f ms' ])
	} map { ("$_, superuser", "$_, one in ten") } @$queries;
}

# ratio is the quotient of two rates, named by case and variant; percent is the same of a hundred.
sub ratio
{
	my ($case, $variant, $other_case, $other) = @_;

	return sub { quotient($_[0]->median($case, $variant, 'rate'), $_[0]->median($other_case, $other, 'rate')) };
}

sub percent
{
	my $ratio = ratio(@_);

	return sub { hundred($ratio->(@_)) };
}

# held is what a part of the steady load keeps, in per cent, while a snapshot is held.
sub held
{
	my ($name, $part, $case) = (@_, 'snapshot');

	return sub {
		my ($results) = @_;
		return hundred(quotient(map { $results->median($case, "$name $_", $part) } 'held', 'free'));
	};
}

# kept is what remains of a ratio between no-op jobs when every job does an UPDATE.
sub kept
{
	my ($noop_case, $peer, $ours) = @_;
	my ($with, $without) = (ratio('update', $ours, 'update', $peer), ratio($noop_case, 'bgjob', $noop_case, $peer));

	return sub { quotient($with->(@_), $without->(@_)) };
}

sub hundred { return defined $_[0] ? 100 * $_[0] : undef }

sub quotient
{
	my ($x, $y) = @_;

	return defined $x && defined $y && $y > 0 ? $x / $y : undef;
}

1;
