# bgjob-dashboard: what the statements of the pages Jobs, Job and Failures answer. Counts agree with lists, pages go by keys, large values are
# left out and asked for by themselves, numbers stay exact, a graph is bounded and counts the rest, groups of failures are whole, a role
# sees its part, and where arguments are hidden nothing of them is in any answer.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobDashboard;
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('jobs', 'bgjob.workers' => 2, max_connections => 60);
dashboard_on($node);
user($_) for qw(alice bob);
user('carol', 'GRANT pg_monitor TO carol');
user('boss', 'ALTER ROLE boss SUPERUSER');

# value SQL returns what a superuser reads; as ROLE, SQL what a role does, the last line.
sub value { return $node->safe_psql('postgres', $_[0]) }
sub as { return (split /\n/, value("SET ROLE $_[0]; $_[1]"))[-1] }

$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO users;
CREATE FUNCTION app.fine(a jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION app.bad(secret text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'order % is wrong', (random() * 1000)::int USING DETAIL = 'detail ' || secret, HINT = 'Look at it.', ERRCODE = '22023';
END $$;
CREATE FUNCTION app.talk(lines int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..lines LOOP PERFORM bgjob_log('line ' || i, (ARRAY['info', 'debug', 'warning', 'error'])[1 + i % 4]); END LOOP;
	IF lines > 1100 THEN PERFORM bgjob_log(repeat('x', 5000)); END IF;
END $$;
SELECT bgjob_queue('held', paused => true);
SQL

my $dashboard = start_dashboard();
my %session   = map { $_ => sign_in($dashboard, $_) } qw(alice bob carol boss);

# page ROLE, PAGE, NAME => VALUE… returns the data of a page, as this role sees it. What is not 200 is a failed test.
sub page
{
	my ($role, $page, @params) = @_;
	my @query;

	while (my ($name, $value) = splice @params, 0, 2)
	{
		$value =~ s/([^A-Za-z0-9_.-])/sprintf '%%%02X', ord $1/ge;
		push @query, "$name=$value";
	}
	my $answer = api($session{$role}, 'GET', "d/postgres/$page?" . join '&', @query);
	is($answer->{status}, 200, "$page is answered") or diag($answer->{body});
	return ref $answer->{json} eq 'HASH' ? $answer->{json}{data} : undef;
}

# act ROLE, ACTION, DATA returns the result of an action.
sub act { return api($session{ $_[0] }, 'POST', "d/postgres/do/$_[1]", $_[2])->{json}{result} }

# ids ROLE, NAME => VALUE… goes through all pages of a list, and returns the ids.
sub ids
{
	my ($role, @params) = @_;
	my ($before, @ids);

	do
	{
		my $data = page($role, 'jobs', rows => 7, @params, defined $before ? (before => $before) : ());
		push @ids, map { $_->{id} } @{ $data->{rows} };
		$before = $data->{next};
	} while (defined $before);
	return @ids;
}

sub all_end
{
	my ($what) = @_;
	wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN ('enqueued', 'processing') AND queue <> 'held')}, $what);
}

# ---- Jobs ----

my $huge = '12345678901234567890.123456789';
value(qq{SELECT count(*) FROM (SELECT bgjob_enqueue('app.fine', '{"n": $huge}', tags => '{vip}') FROM generate_series(1, 9)) x});
value(q{SELECT bgjob_enqueue('app.bad', '["s3cret"]', max_retries => 0) FROM generate_series(1, 8)});
value(q{SELECT bgjob_enqueue('app.fine', delay => '1 hour') FROM generate_series(1, 3); SELECT bgjob_enqueue('app.fine', queue => 'held', priority => 5) FROM generate_series(1, 4);
	SELECT bgjob_enqueue('app.fine', after_signal => '{go}') FROM generate_series(1, 2); SELECT bgjob_delete(bgjob_enqueue('app.fine', delay => '1 day')) FROM generate_series(1, 5)});
as('alice', q{SELECT bgjob_enqueue('app.fine', delay => '1 hour'); SELECT bgjob_enqueue('app.bad', '["s3cret"]', max_retries => 0)});
all_end('the jobs have ended');
value('SELECT bgjob_enqueue(\'app.fine\')');
all_end('one more has');
value(q{SELECT bgjob_purge('succeeded', older_than => '1 hour')});

foreach my $role (qw(boss carol))
{
	my $counts = page($role, 'job_counts');
	foreach my $state (qw(enqueued scheduled awaiting processing succeeded failed deleted))
	{
		my @ids = ids($role, state => $state);
		is(scalar @ids, $counts->{$state}, "$role: the list has as many $state jobs as the tab says");
		is_deeply(\@ids, [ sort { $b <=> $a } @ids ], "$role: the newest come first, none twice");
	}
}
my $counts = page('alice', 'job_counts');
is_deeply([ map { $counts->{$_} } qw(scheduled failed enqueued) ], [ 1, 1, 0 ], 'a role\'s counts are those of its jobs');
is_deeply([ map { $counts->{$_} } qw(awaiting succeeded deleted) ], [ undef, undef, undef ], 'what is counted for all roles alone it is not told');
is(scalar ids('alice'), 2, 'nor does it see other jobs');
is(scalar ids('bob'), 0, 'who has none sees none');

my ($row) = @{ page('boss', 'jobs', q => 'tag:vip')->{rows} };
is($row->{args}, qq({"n": $huge}), 'a number of the arguments is exact');
is(page('boss', 'job', id => $row->{id})->{result}, qq({\n    "n": $huge\n}), 'and of the result');
my $large = value(q{SELECT bgjob_enqueue('app.fine', jsonb_build_object('v', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 40000) i)))});
all_end('a large one has ended');
($row) = @{ page('boss', 'jobs', q => "id:$large")->{rows} };
is_deeply([ $row->{args}, $row->{args_bytes} > 500_000 ], [ undef, 1 ], 'of a large value the list has the size');
my $job = page('boss', 'job', id => $large);
is_deeply([ @{$job}{qw(args result)}, $job->{args_bytes} > 500_000, $job->{result_bytes} > 500_000 ], [ undef, undef, 1, 1 ], 'so has the page of the job');
is(page('boss', 'job_value', id => $large, name => 'args')->{characters}, value("SELECT length(jsonb_pretty(args)) FROM bgjob.jobs WHERE id = $large"), 'asked for, it is whole');

my $newest = value('SELECT max(id) FROM bgjob.jobs');
value(q{SELECT bgjob_enqueue('app.fine', queue => 'held') FROM generate_series(1, 3)});
my $now = page('boss', 'jobs_now', ids => "{$newest,999999999}", newest => $newest);
is_deeply([ $now->{newer}, map { $_->{id} } @{ $now->{rows} } ], [ 3, $newest ], 'a list is told of newer jobs, and what has become of its own');
is(page('boss', 'jobs_now', ids => "{$newest}")->{newer}, 0, 'on another page than the first there are no newer ones');
is(page('boss', 'jobs_now', ids => '{}', newest => $newest, state => 'failed')->{newer}, 0, 'those of other states are not counted');
like(api($session{boss}, 'GET', 'd/postgres/jobs?state=nonsense')->{json}{error}{detail}, qr/nonsense/, 'a state that there is not is refused');
is(api($session{boss}, 'GET', 'd/postgres/jobs?before=x')->{status}, 400, 'so is a page that is none');

foreach my $q ('state:nonsense', '-state:nonsense', 'state:failed%20state:nonsense', 'state:', 'queue:Mail', 'role:nobody_of_that_name', 'error:%22%22', 'colour:red', '%22open')
{
	my %status = map { ($_ => api($session{boss}, 'GET', "d/postgres/$_=$q")->{status}) } 'jobs?q', 'jobs_now?ids={1}&newest=0&q', 'query_check?q';
	is_deeply([ values %status ], [ 400, 400, 400 ], "$q: is refused");
}
like(api($session{boss}, 'POST', 'd/postgres/bulk?preview=1', { action => 'delete', query => 'state:nonsense' })->{json}{error}{detail}, qr/nonsense/, 'a bulk of jobs in a state that there is not is refused');
is(api($session{boss}, 'GET', 'd/postgres/query_check?q=state:failed%20-tag:vip')->{status}, 200, 'what is understood is not');
is(api($session{boss}, 'GET', 'd/postgres/query_check')->{status}, 200, 'nor is nothing');

my $words = page('boss', 'suggest');
ok((grep { $_ eq 'held' } @{ $words->{queues} }), 'the search box knows the queues');
ok((grep { $_ eq 'app.fine' } @{ $words->{jobs} }), 'the functions, without their types');
ok((grep { $_ eq 'vip' } @{ $words->{tags} }), 'the tags');
ok((grep { $_ eq 'n' } @{ $words->{args} }), 'and the names of arguments');

# ---- Job ----

my ($failed) = ids('boss', state => 'failed', q => 'role:postgres');
$job = page('boss', 'job', id => $failed);
is(join(' ', map { $_->{state} } @{ $job->{states} }), 'enqueued processing failed', 'a job has its history');
is_deeply([ @{ $job->{error} }{qw(sqlstate detail hint)}, $job->{states}[2]{sqlstate} ], [ '22023', 'detail s3cret', 'Look at it.', '22023' ], 'and its error');
is_deeply([ $job->{why}, $job->{may_change} ], [ undef, JSON::PP::true ], 'what has ended does not wait');
is(page('carol', 'job', id => $failed)->{may_change}, JSON::PP::false, 'who only sees it is not offered to change it');
is(page('alice', 'job', id => $failed), undef, 'who may not see it gets nothing');
is(page('alice', 'job_value', id => $failed, name => 'args'), undef, 'nor its arguments');
is_deeply(page('alice', 'job_log', id => $failed)->{rows}, [], 'nor its console');
is(page('alice', 'job_graph', id => $failed), undef, 'nor what awaits it');
is(page('alice', 'job_runs', id => $failed), undef, 'nor earlier runs');
my ($held) = ids('boss', q => 'queue:held state:enqueued');
is(page('boss', 'job', id => $held)->{why}[0]{reason}, 'queue paused', 'one that waits says why');
is(scalar @{ page('boss', 'job_runs', id => $held)->{rows} }, 11, 'earlier runs are those that have run');

my $talk = value(q{SELECT bgjob_enqueue('app.talk', '[1200]')});
all_end('the talking one has ended');
my $log = page('boss', 'job_log', id => $talk);
is_deeply([ scalar @{ $log->{rows} }, $log->{rows}[-1]{seq}, $log->{more} ], [ 500, 1201, JSON::PP::true ], 'the console begins with the last lines');
is_deeply([ length $log->{rows}[-1]{message}, $log->{rows}[-1]{cut} ], [ 4000, JSON::PP::true ], 'long ones are cut');
is_deeply([ map { $_->{seq} } @{ page('boss', 'job_log', id => $talk, after => 1199)->{rows} } ], [ 1200, 1201 ], 'it goes on behind a line');
is_deeply([ map { $_->{seq} } @{ page('boss', 'job_log', id => $talk, before => 3)->{rows} } ], [ 1, 2 ], 'and back before one');
is_deeply([ map { $_->{level} } @{ page('boss', 'job_log', id => $talk, rows => 3, level => 'warning')->{rows} } ], [ 'error', 'warning', 'error' ],
	'lines below a level are left out');

my $root = value(q{SELECT bgjob_enqueue('app.fine', queue => 'held')});
my $end  = value(qq{WITH wide AS MATERIALIZED (SELECT bgjob_enqueue('app.fine', after => '{$root}') AS id FROM generate_series(1, 1100)) SELECT bgjob_enqueue('app.talk', '[1]', after => array_agg(id)) FROM wide});
my $graph = page('boss', 'job_graph', id => $root);
is($graph->{after}, 1100, 'all continuations are counted');
is(scalar(grep { $_->[4] == 1 } @{ $graph->{nodes} }), 1000, 'a thousand of them are in the graph');
is_deeply([ map { $_->[0] } grep { $_->[4] == 2 } @{ $graph->{nodes} } ], [$end], 'and what comes behind them');
$graph = page('boss', 'job_graph', id => $end);
is_deeply([ $graph->{before}, scalar(grep { $_->[4] == -1 } @{ $graph->{nodes} }), grep { $_->[0] eq $root } @{ $graph->{nodes} } ], [ 1100, 1000, [ $root, 'app.fine', 'function', 'enqueued', -2 ] ],
	'so it is the other way round');
value(q{SELECT bgjob_queue_resume('held')});
wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $end", 'the queue is resumed, all have ended');
$graph = page('boss', 'job_graph', id => $root);
is(scalar(grep { $_->[4] == 1 } @{ $graph->{nodes} }), 1000, 'continuations that have ended are found, too');

my $batch = value('SELECT bgjob_batch(\'the batch\')');
my $inside = value("SELECT bgjob_enqueue('app.fine', batch => $batch)");
all_end('a job of a batch has ended');
is(page('boss', 'job', id => $inside)->{batch_id}, $batch, 'a job knows its batch');
is_deeply([ @{ page('boss', 'job_batch', id => $batch) }{qw(description total ended)} ], [ 'the batch', 1, 1 ], 'and how far it is');

# ---- actions ----

my $copy = act('boss', 'copy_job', { id => (ids('boss', q => 'tag:vip'))[0] });
is(value("SELECT args ->> 'n' || tags::text FROM bgjob.jobs WHERE id = $copy"), "$huge\{vip}", 'a copy has the arguments, exactly, and the options');
$copy = act('boss', 'copy_job', { id => $copy, args => '{"n": 98765432109876543210}' });
is(value("SELECT args ->> 'n' FROM bgjob.jobs WHERE id = $copy"), '98765432109876543210', 'or those that are given');
is(act('alice', 'copy_job', { id => $copy }), undef, 'there is none of a job that a role may not see');
is(api($session{carol}, 'POST', 'd/postgres/do/copy_job', { id => $copy })->{status}, 403, 'nor of one that it may only see');
all_end('the copies have ended');
is(act('boss', 'requeue', { id => $copy, from_state => 'failed' }), JSON::PP::false, 'what a stale page asks for is not done');

# ---- Failures ----

my $failures = page('boss', 'failures');
my ($group) = grep { $_->{job} eq 'app.bad' && $_->{jobs} == 9 } @{ $failures->{rows} };
ok($group, 'failed jobs that differ in a number are one group') or diag(explain($failures));
is_deeply([ @{$failures}{qw(groups jobs complete)} ], [ 1, 9, JSON::PP::true ], 'all failed jobs are in a group');
my $sum = 0;
$sum += $_->{jobs} for @{ $failures->{rows} };
is($sum, $failures->{jobs}, 'the groups are as many jobs as the head says');
is(scalar ids('boss', q => $_->{query}), $_->{jobs}, 'the query of a group finds its jobs') for @{ $failures->{rows} };
is(page('alice', 'failures')->{jobs}, 1, 'a role sees its own');
is_deeply([ map { $_->{last_at} } @{ page('boss', 'failures', sort => 'last')->{rows} } ],
	[ reverse sort map { $_->{last_at} } @{ $failures->{rows} } ], 'they can be in the order of the last failure');

# ---- recurring jobs: what they have done, and options that are taken back ----

my $name = q(a "b" \\c, {d});
(my $literal = $name) =~ s/(["\\])/\\$1/g;
sub past { return page($_[0], 'recurring_past', owners => "{$_[1]}", names => qq({"$literal"})) }
sub save { return api($session{alice}, 'POST', 'd/postgres/do/recurring_save', { name => $name, @_ })->{body} }
like(save(schedule => '0 0 1 1 *', job => 'app.fine', queue => 'default'), qr/"result"/, 'a recurring job is added');
is_deeply(past('alice', 'alice')->{rows}, [ { name => $name, owner => 'alice', since => undef, runs => [] } ], 'it has done nothing yet');
my @runs = map { act('alice', 'recurring_trigger', { name => $name }) } 1 .. 34;
all_end('its jobs have ended');
my ($strip) = @{ past('alice', 'alice')->{rows} };
is_deeply([ scalar @{ $strip->{runs} }, map({ $_->[1] } @{ $strip->{runs} }[ 0, 31 ]) ], [ 32, 'succeeded', 'succeeded' ], 'its latest jobs are there, with their states');
is($strip->{since}, $strip->{runs}[0][0], 'and it is told how far they reach');
value("SELECT bgjob_requeue($runs[0]), bgjob_delete($runs[33])");
all_end('one has run again');
is(past('alice', 'alice')->{rows}[0]{runs}[-1][1], 'deleted', 'what has become of a job is told');
is_deeply(past('bob', 'alice')->{rows}, [], 'a role without rights is told nothing');
is_deeply(page('alice', 'recurring_past')->{rows}, [], 'nobody asked for is nobody');

my @options = qw(timeout jitter starts_at ends_at unique_key sequence_key limits tags);
sub options
{
	my $row = page('alice', 'recurring_job', name => $name);

	return join ' ', map { my $value = ref $row->{$_} ? "@{ $row->{$_} }" : $row->{$_} // ''; $value eq '' ? () : "$_=$value" } @options;
}
value(q{SELECT bgjob_limit('l', max_running => 1)});
is(options(), '', 'without options, none is shown');
like(save(timeout => '1 min', jitter => '30 s', starts_at => '2026-01-01', ends_at => '2099-01-01', unique_key => 'u', sequence_key => 's', limits => ['l'], tags => ['t']), qr/"result"/, 'options are given');
is(join(' ', options() =~ /(\w+)=/g), "@options", 'then all are shown');
like(save(timeout => '0', jitter => '0', starts_at => '-infinity', ends_at => 'infinity', unique_key => '', sequence_key => '', limits => [], tags => []), qr/"result"/, 'they are taken back');
is(options(), '', 'with what the form sends for an empty field, each is gone');
like(save(args => '[1]') . save(args => '[]') . page('alice', 'recurring_job', name => $name)->{args}, qr/\}\s+\[\s*\]$/, 'so are arguments');

end_dashboard($dashboard);

# ---- where arguments are hidden ----

value(q{SELECT bgjob_enqueue('app.fine', '{"s3cret": "s3cret"}', parameters => '{"p": "s3cret"}')});
value(q{SET my.setting = 's3cret'; SELECT bgjob_enqueue('app.bad', '["s3cret"]', max_retries => 1, retry_delays => '{1 h}')});
all_end('secret ones have ended');
my %secret = map { $_ => value("SELECT max(id) FROM bgjob.jobs WHERE args::text ~ 's3cret' AND job = '$_'") } qw(app.fine app.bad);
foreach my $hidden (0, 1)
{
	$dashboard = start_dashboard($hidden ? '--hide-arguments' : ());
	$session{boss} = sign_in($dashboard, 'boss');
	my %seen;
	foreach my $id (values %secret)
	{
		foreach my $path ('jobs', 'jobs?q=app', "jobs_now?ids={$id}&newest=1", "job?id=$id", "job_value?id=$id&name=args", "job_value?id=$id&name=parameters", "job_value?id=$id&name=settings",
			"job_runs?id=$id", "job_graph?id=$id", "job_log?id=$id", 'suggest', 'failures', "batch_jobs?id=$batch")
		{
			my $answer = api($session{boss}, 'GET', "d/postgres/$path");
			my ($name) = $path =~ /^(\w+)/;
			$seen{$name} = 1 if $answer->{body} =~ /s3cret/;
		}
	}
	is_deeply([ sort keys %seen ], $hidden ? [] : [qw(job job_value jobs suggest)], $hidden ? 'nothing of hidden arguments is in any answer' : 'where they are shown, they are');
	foreach my $q ('args.s3cret:x', '-args.a:1', 'ARGS:s3cret', "fine\targs.x:1")
	{
		(my $encoded = $q) =~ s/\s/%20/g;
		is(api($session{boss}, 'GET', "d/postgres/jobs?q=$encoded")->{status}, $hidden ? 400 : 200, "$encoded: " . ($hidden ? 'they cannot be searched for' : 'they are searched for'));
	}
	is(scalar @{ page('boss', 'jobs', q => 's3cret', state => 'succeeded')->{rows} }, $hidden ? 0 : 1, $hidden ? 'no word finds a job by them' : 'words are found in them');
	end_dashboard($dashboard);
}

check_counters($node);
$node->stop;
done_testing();
