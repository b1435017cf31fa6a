# bgjob-dashboard: events as they happen, and actions on many jobs. How many statements viewers cost; that they see what their role
# sees; what a bulk does to the jobs it means, and to no other; how it is stopped; who sees it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobDashboard;
use BgjobTest;
use IO::Select;
use IO::Socket::UNIX;
use PostgreSQL::Test::Utils;
use Socket qw(SOCK_DGRAM);
use Test::More;
use Time::HiRes qw(time usleep);

my $node = bgjob_cluster('dashboard_live', 'bgjob.workers' => 2, max_connections => 60);
dashboard_on($node);
sub value { return $node->safe_psql('postgres', $_[0]) }

value(q{
	CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO PUBLIC;
	CREATE FUNCTION app.nothing(n int) RETURNS void LANGUAGE sql AS 'SELECT';
	CREATE FUNCTION app.slow() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM bgjob_progress(40, 'halfway'); PERFORM pg_sleep(3600); END $$;
	SELECT bgjob_queue(q, paused => true) FROM unnest('{held,slow,elsewhere,many}'::text[]) q;
});
user('alice', q{ALTER ROLE alice SET log_statement = 'all'});
user('bob');

# enqueue ROLE, NUMBER, OPTIONS enqueues so many jobs as a role, and returns their ids.
sub enqueue
{
	my ($role, $count, $options) = @_;

	return split /\n/, value("SET ROLE $role; SELECT bgjob_enqueue_many('app.nothing', (SELECT array_agg(jsonb_build_object('n', g)) FROM generate_series(1, $count) g)" . ($options ? ", $options" : '') . ')');
}

sub count_jobs { return value("SELECT count(*) FROM bgjob.jobs WHERE $_[0]") }

my $dashboard = start_dashboard();
my $alice     = sign_in($dashboard, 'alice');
my $bob       = sign_in($dashboard, 'bob');
is($alice->{answer}{status}, 200, 'a role signs in') || diag(last_logged($dashboard));

# ---- live ----

{
	my $viewer = viewer($alice);
	my $event  = next_event($viewer);

	like($viewer->{head}, qr/^HTTP\/1\.1 200.*content-type: text\/event-stream/is, 'live is a stream of events');
	is($event->{event}, 'message', 'the first event comes at once');
	is(join(' ', sort keys %{ $event->{json} }), 'at busy changes queues running stats', 'what an event has');
	my $before = $event->{json}{changes};
	is(next_event($viewer)->{json}{changes}, $before, 'nothing changes: "changes" stays');
	my @ids = enqueue('alice', 3, q{queue => 'held'});
	ok(until_true(sub { $event = next_event($viewer); $event->{json}{changes} ne $before }), 'jobs are enqueued: "changes" is another');
	is($event->{json}{stats}{enqueued}, 3, 'the numbers are those of the lists');
	my ($held) = grep { $_->{queue} eq 'held' } @{ $event->{json}{queues} };
	is("$held->{enqueued} $held->{paused}", '3 1', 'and those of the queues');
	my $other = next_event(viewer($bob));
	($held) = grep { $_->{queue} eq 'held' } @{ $other->{json}{queues} };
	is($held->{enqueued}, 0, 'another role sees its own jobs alone');
	is_deeply([ @{ $other->{json}{stats} }{qw(enqueued failed sees_all)} ], [ 0, 0, JSON::PP::false ], 'it is told how many these are, and that the other numbers are of all roles');
	is(join(' ', sort keys %$held), 'enqueued failed paused processing queue scheduled', 'of a queue it has what is in memory, so nothing is looked up for each');

	value(q{SET ROLE alice; SELECT bgjob_enqueue('app.slow')});
	ok(until_true(sub { $event = next_event($viewer); @{ $event->{json}{running} } && defined $event->{json}{running}[0]{progress} }), 'a running job is shown with its progress');
	is("@{ $event->{json}{running}[0] }{qw(job progress progress_message queue)}", 'app.slow 40 halfway default', 'its name, its queue, its message');
	like($event->{json}{running}[0]{id}, qr/^\d+$/, 'its id');
	is(scalar @{ next_event(viewer($bob))->{json}{running} }, 0, 'to its own role');
	value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE job = 'app.slow'});
	close $viewer->{socket};
}

{
	my $second  = sign_in($dashboard, 'alice');
	my @viewers = (map({ viewer($alice) } 1 .. 6), map { viewer($second) } 1 .. 6);
	my $log     = $node->logfile;

	next_event($_) for @viewers;
	my $from = -s $log;
	my $deaf = viewer($alice);
	for (1 .. 4) { next_event($_) for @viewers }
	my $statements = () = slurp_file($log, $from) =~ /execute[^\n]*\n?WITH stats/g;
	cmp_ok($statements, '>=', 3, 'a statement a second');
	cmp_ok($statements, '<=', 7, 'however many look, also over two sessions, and whether or not they read');
	is(api($second, 'DELETE', 'session')->{status}, 200, 'a session ends');
	my @last = map { my $viewer = $_; my $last; while (my $event = next_event($viewer, 10)) { $last = $event } $last->{event} } @viewers[ 6 .. 11 ];
	is("@last", 'end end end end end end', 'its viewers are told, and their answers end');
	is(next_event($viewers[0])->{event}, 'message', 'those of the other session go on');
	my @more = map { viewer($alice) } 1 .. 30;
	is(scalar(grep { my $event = next_event($_, 3); !$event } @more[ 20 .. 29 ]), 10, 'a session has no more viewers than it needs');
	close $_->{socket} for @viewers, @more, $deaf;
}
is(http($dashboard, 'GET', '/api/d/postgres/live')->{status}, 401, 'nobody looks without a session');

# ---- bulk: what is refused ----

foreach my $case (
	[ 'an empty query',               { action => 'delete', query => " \n" },                                      qr/an empty query would mean all jobs/ ],
	[ 'no jobs',                      { action => 'delete' },                                                      qr/either "query" or "ids"/ ],
	[ 'both ways to name jobs',       { action => 'delete', query => 'queue:held', ids => ['1'] },                 qr/either "query" or "ids"/ ],
	[ 'no ids',                       { action => 'delete', ids => [] },                                           qr/"ids" is empty/ ],
	[ 'too many ids',                 { action => 'delete', ids => [ 1 .. 10001 ] },                               qr/more than 10000 ids/ ],
	[ 'an id that is none',           { action => 'delete', ids => ['1; DROP TABLE x'] },                          qr/not the id of a job/ ],
	[ 'a negative id',                { action => 'delete', ids => [-1] },                                         qr/not the id of a job/ ],
	[ 'an id that is too large',      { action => 'delete', ids => ['9223372036854775808'] },                      qr/not the id of a job/ ],
	[ 'an unknown action',            { action => 'purge', query => 'queue:held' },                                qr/"action" is none of/ ],
	[ 'an unknown state',             { action => 'delete', query => 'queue:held', from_state => 'fail' },         qr/not a state/ ],
	[ 'a misspelled member',          { action => 'delete', query => 'queue:held', form_state => 'failed' },       qr/unknown member/ ],
	[ 'no time to reschedule to',     { action => 'reschedule', query => 'queue:held' },                           qr/either "delay" or "run_at"/ ],
	[ 'two times',                    { action => 'reschedule', query => 'queue:held', delay => '1 h', run_at => 'now' }, qr/either "delay" or "run_at"/ ],
	[ 'a time for an action without', { action => 'requeue', query => 'queue:held', delay => '1 h' },              qr/takes no time/ ],
	[ 'nothing to change',            { action => 'change', query => 'queue:held' },                               qr/needs "queue" or "priority"/ ],
	[ 'a malformed delay',            { action => 'reschedule', ids => ['1'], delay => 'soon' },                   qr/invalid input syntax for type interval/ ],
	[ 'a malformed time',             { action => 'reschedule', ids => ['1'], run_at => 'yesteryear' },            qr/invalid input syntax for type timestamp/ ],
	[ 'a query that is too long',     { action => 'delete', query => 'queue:held ' . 'x' x 4000 },                  qr/too long/ ],
	[ 'a malformed query',            { action => 'delete', query => 'state:nonsense' },                           qr/./ ],
  )
{
	my ($what, $body, $pattern) = @$case;
	my $answer = api($alice, 'POST', 'd/postgres/bulk', $body);

	is($answer->{status}, 400, "$what: refused");
	like($answer->{json}{error}{message} // '', $pattern, "$what: the error says so");
}
is(scalar @{ api($alice, 'GET', 'd/postgres/bulk')->{json}{bulks} }, 0, 'nothing has begun');
is(http($dashboard, 'POST', '/api/d/postgres/bulk', { Cookie => $alice->{cookie}, 'Content-Type' => 'application/json' }, '{"action":"delete","query":"queue:held"}')->{status}, 403,
	'without the token: refused');
is(count_jobs(q{queue = 'held' AND state = 'enqueued'}), 3, 'no job was touched');

# ---- bulk: what it does ----

# bulk SESSION, BODY begins a bulk and returns its number.
sub bulk
{
	my ($session, %body) = @_;
	my $answer = api($session, 'POST', 'd/postgres/bulk', \%body);

	is($answer->{status}, 202, "a bulk begins: $body{action}") || diag($answer->{body});
	return $answer->{json}{bulk};
}

sub state_of
{
	my ($session, $number) = @_;
	my ($bulk) = grep { $_->{bulk} eq $number } @{ api($session, 'GET', 'd/postgres/bulk')->{json}{bulks} };

	return $bulk;
}

# result SESSION, NUMBER waits until a bulk has ended, and returns "state changed refused errors".
sub result
{
	my ($session, $number) = @_;
	my $bulk;

	until_true(sub { $bulk = state_of($session, $number); $bulk->{state} !~ /running|stopping/ }) or diag(last_logged($dashboard));
	return join ' ', @$bulk{qw(state changed refused errors)};
}

my @many = enqueue('alice', 700, q{queue => 'many'});
enqueue('bob', 5, q{queue => 'many'});
my $preview = api($alice, 'POST', 'd/postgres/bulk?preview=1', { action => 'delete', query => 'queue:many' });
is("$preview->{status} $preview->{json}{count} $preview->{json}{complete}", '200 700 1', 'a preview counts the jobs of a query');
$preview = api($alice, 'POST', 'd/postgres/bulk?preview=1', { action => 'delete', ids => [ @many[ 0 .. 9 ], 1e9 ], from_state => 'enqueued' });
is("$preview->{json}{count} $preview->{json}{complete}", '10 1', 'and those of a list');
is(count_jobs(q{queue = 'many' AND state = 'enqueued'}), 705, 'and does nothing');

is(result($alice, bulk($alice, action => 'change', query => 'queue:many', queue => 'elsewhere', priority => 7)), 'done 700 0 0', 'a bulk moves 700 jobs');
is(count_jobs(q{queue = 'elsewhere' AND priority = 7 AND run_as = 'alice'::regrole}), 700, 'all of them');
is(count_jobs(q{queue = 'many'}), 5, 'and none of another role');
is(result($alice, bulk($alice, action => 'reschedule', query => 'queue:elsewhere', delay => '2 h', from_state => 'enqueued')), 'done 700 0 0', 'a bulk reschedules them');
is(count_jobs(q{queue = 'elsewhere' AND state = 'scheduled' AND run_at > now() + interval '1 h'}), 700, 'for the time that is given');
is(count_jobs(q{queue = 'elsewhere' AND reason = 'Rescheduled by role "alice": bulk action in the dashboard'}), 700, 'the reason says who did it');
is(result($alice, bulk($alice, action => 'requeue', ids => [ @many[ 0 .. 299 ], @many[ 0 .. 9 ] ], from_state => 'failed')), 'done 0 300 0', 'jobs in another state than expected are left alone, each once');
is(result($alice, bulk($alice, action => 'requeue', ids => [ map { 0 + $_ } @many[ 0 .. 299 ] ], from_state => 'scheduled')), 'done 300 0 0', 'those in it are requeued');
is(count_jobs(q{queue = 'elsewhere' AND state = 'enqueued' AND reason = 'Requeued by role "alice": bulk action in the dashboard'}), 300, 'the reason says who did it');
is(result($alice, bulk($alice, action => 'delete', query => 'queue:elsewhere state:scheduled', from_state => 'scheduled')), 'done 400 0 0', 'a bulk deletes the others');
is(count_jobs(q{queue = 'elsewhere' AND state = 'deleted' AND reason = 'Deleted by role "alice": bulk action in the dashboard'}), 400, 'the reason says who did it');
is(result($alice, bulk($alice, action => 'delete', query => 'queue:nowhere')), 'done 0 0 0', 'no job: nothing to do');

# One job that may not be changed spoils no batch.
value('GRANT pg_monitor TO alice');
my @bobs = enqueue('bob', 3, q{queue => 'held'});
my @mine = enqueue('alice', 50, q{queue => 'held'});
my $mixed = bulk($alice, action => 'delete', ids => [ @mine, @bobs ]);
is(result($alice, $mixed), 'done 50 0 3', 'jobs that may only be seen are errors, the others are deleted');
like(state_of($alice, $mixed)->{last_error}, qr/permission denied|must be/, 'the error is shown');
is(state_of($alice, $mixed)->{last_sqlstate}, '42501', 'with its SQLSTATE');
value('REVOKE pg_monitor FROM alice');

# ---- bulk: while it is on its way ----

# Rows that somebody has locked hold up the bulk, in the middle of its work: a batch for 5 s, then a job for 5 s, and so on.
my @slow   = enqueue('alice', 600, q{queue => 'slow'});
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; SELECT FROM bgjob_internal.job WHERE id IN (' . join(',', @slow[ 0 .. 399 ]) . ') FOR UPDATE');
my $held = bulk($alice, action => 'delete', query => 'queue:slow');
ok(until_true(sub { state_of($alice, $held)->{changed} == 200 }), 'a bulk has begun');
my ($late) = enqueue('alice', 1, q{queue => 'slow'});
is(api($bob, 'GET', 'd/postgres/bulk')->{body}, qq({"bulks": []}\n), 'another role does not see it');
is(api($bob, 'DELETE', "d/postgres/bulk/$held")->{status}, 404, 'nor stop it');
is(state_of($alice, $held)->{state}, 'running', 'so it runs');
my $elsewhere = bulk($alice, action => 'delete', ids => [ @slow[ 0 .. 399 ] ]);
is(api($alice, 'POST', 'd/postgres/bulk', { action => 'delete', query => 'queue:slow' })->{status}, 429, 'two at a time for a session');
is(api($alice, 'DELETE', "d/postgres/bulk/$elsewhere")->{status}, 200, 'one is to be stopped');
is(api($alice, 'DELETE', 'session')->{status}, 200, 'the session ends');
$alice = sign_in($dashboard, 'alice');
is(state_of($alice, $held)->{state}, 'running', 'the bulk goes on, and the role sees it again');
$locker->query_safe('COMMIT');
$locker->quit;
like(result($alice, $held), qr/^done /, 'it ends when the locks are gone');
like(result($alice, $elsewhere), qr/^stopped /, 'the other one has been stopped');
# Those for which the time was over were errors.
is(count_jobs("queue = 'slow' AND state = 'enqueued'"), 1 + state_of($alice, $held)->{errors}, 'all jobs are deleted but one');
is(count_jobs("id = $late AND state = 'enqueued'"), 1, 'which was enqueued after the bulk had begun');
is(end_dashboard($dashboard), 0, 'the program leaves as it was asked to');

# ---- read only, and with arguments hidden ----

$dashboard = start_dashboard('--read-only', '--hide-arguments');
$alice     = sign_in($dashboard, 'alice');
is(api($alice, 'POST', 'd/postgres/bulk', { action => 'delete', query => 'queue:slow' })->{status}, 403, 'read only: a bulk is refused');
is(api($alice, 'POST', 'd/postgres/bulk?preview=1', { action => 'delete', query => 'queue:slow' })->{status}, 200, 'a preview is not');
is(api($alice, 'POST', 'd/postgres/bulk?preview=1', { action => 'delete', query => 'queue:slow -args.n:7' })->{status}, 400, 'arguments that are hidden cannot be guessed by counting');
value(q{SET ROLE alice; SELECT bgjob_enqueue('app.slow')});
{
	my $viewer = viewer($alice);
	my $event;

	ok(until_true(sub { $event = next_event($viewer); @{ $event->{json}{running} } && defined $event->{json}{running}[0]{progress} }), 'a running job is shown');
	is($event->{json}{running}[0]{progress_message}, undef, 'without what it says, where arguments are hidden');
	close $viewer->{socket};
}
value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE job = 'app.slow'});
is(end_dashboard($dashboard), 0, 'the program leaves as it was asked to');

# ---- an idle session, and the service manager ----

{
	my $path     = PostgreSQL::Test::Utils::tempdir_short() . '/notify';
	my $manager  = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $path) or die $!;
	my $received = '';
	my $heard    = sub {
		my ($what) = @_;
		return until_true(sub {
			while (IO::Select->new($manager)->can_read(0.01)) { $manager->recv(my $text, 1000); $received .= "$text\n" }
			return $received =~ /^\Q$what\E$/m;
		});
	};

	$dashboard = start_dashboard({ env => { NOTIFY_SOCKET => $path, WATCHDOG_USEC => 1_000_000 } }, '--session-timeout', '3s');
	ok($heard->('READY=1'),    'the service manager is told when the program listens');
	ok($heard->('WATCHDOG=1'), 'and gets signs of life');
	my $viewer = viewer(sign_in($dashboard, 'alice'));
	my @events;
	while (my $event = next_event($viewer)) { push @events, $event->{event} }
	is($events[-1], 'end', 'looking alone does not keep a session alive: its viewer is told of the end');
	cmp_ok(scalar @events, '<', 30, 'in time');
	# A socket holds few datagrams that nobody has read.
	$heard->('WATCHDOG=1');
	is(end_dashboard($dashboard), 0, 'the program leaves as it was asked to');
	ok($heard->('STOPPING=1'), 'and says so');
}

check_counters($node);
$node->stop;
done_testing();
