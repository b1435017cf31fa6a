# bgjob-dashboard and clients that mean no good, or know no better: slow ones, many at once, what is not HTTP, what is too large,
# those that vanish; and a server that is restarted under it. It stays up, it goes on answering others, its memory is bounded, and no
# descriptor is lost. The same once more with the address sanitizer.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobDashboard;
use BgjobTest;
use File::Copy ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $top  = "$FindBin::RealBin/../..";
my $node = bgjob_cluster('dashboard_http', 'bgjob.workers' => 1, max_connections => 60);
dashboard_on($node);
user('alice');

my $dashboard = start_dashboard();
my $alice     = sign_in($dashboard, 'alice');
is($alice->{answer}{status}, 200, 'a role signs in') || diag(last_logged($dashboard));

# answers SESSION, WHAT tests that the program answers somebody who is signed in, whatever others do.
sub answers
{
	my ($session, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $answer = api($session, 'GET', 'session');

	return is($answer && $answer->{status}, 200, "$what: others are answered") || diag(last_logged($session->{dashboard}));
}

# outcome DASHBOARD, BYTES sends bytes and the end of them; returns the status of the answer, 'closed' if there was none, 'open' if the
# connection stays open without one.
sub outcome
{
	my ($target, $bytes) = @_;
	my $socket = connection($target) or return 'refused';
	my $end    = time + 20;

	$socket->blocking(0);
	local $SIG{PIPE} = 'IGNORE';
	while (length $bytes && time < $end)
	{
		my $sent = $socket->syswrite($bytes, 65536);
		if (defined $sent) { substr $bytes, 0, $sent, '' }
		elsif ($!{EAGAIN}) { IO::Select->new($socket)->can_write(0.1); last if IO::Select->new($socket)->can_read(0) }
		else               { last }
	}
	my $answer = read_answer($socket, 20);
	return $answer->{status} if $answer;
	$socket->blocking(1);
	return IO::Select->new($socket)->can_read(0) ? 'closed' : 'open';
}

# ---- slow clients; they are looked at again at the end ----

my %cookie = (Cookie => $alice->{cookie}, 'X-CSRF-Token' => $alice->{csrf});
my @slow;
foreach my $begin ("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", "GE", '', request('POST', '/api/session', { 'Content-Length' => 1000 }, '') . '{"user":"')
{
	my $socket = connection($dashboard);
	$socket->syswrite($begin);
	push @slow, { socket => $socket, began => time };
}
my $slow_since = time;

# drip sends a byte more on each slow connection, and notes when they are closed.
sub drip
{
	local $SIG{PIPE} = 'IGNORE';
	foreach my $slow (grep { !$_->{closed} } @slow)
	{
		my $sent = $slow->{socket}->syswrite('x');
		$slow->{closed} = time if !defined $sent || (IO::Select->new($slow->{socket})->can_read(0) && !sysread $slow->{socket}, my $bytes, 1000);
	}
}
answers($alice, 'slow headers and bodies');

# ---- what is not HTTP, or too much of it ----

my $json   = 'application/json';
my $signin = '/api/session';
my @odd    = (
	[ 'nothing but line breaks',      "\r\n" x 1000 . request('GET', '/healthz'),                                               qr/^(200|400|closed|open)$/ ],
	[ 'garbage',                      join('', map { chr(($_ * 7919) % 256) } 1 .. 5000),                                       qr/^(400|414|431|505|501|closed)$/ ],
	[ 'a TLS handshake',              "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" . "\0" x 300 . "\r\n\r\n",                 qr/^(400|505|closed|open)$/ ],
	[ 'an unknown method',            request('BREW', '/'),                                                                     qr/^(400|405|501)$/ ],
	[ 'an unknown version',           "GET / HTTP/7.3\r\nHost: x\r\n\r\n",                                                      qr/^(400|505|closed)$/ ],
	[ 'no host',                      "GET /healthz HTTP/1.1\r\n\r\n",                                                          qr/^400$/ ],
	[ 'a path of 1 MB',               'GET /' . 'a' x 1e6 . " HTTP/1.1\r\nHost: x\r\n\r\n",                                     qr/^(400|414|431|closed)$/ ],
	[ 'a header of 1 MB',             request('GET', '/', { 'X-Long' => 'a' x 1e6 }),                                           qr/^(400|413|431|closed)$/ ],
	[ 'ten thousand headers',         "GET / HTTP/1.1\r\nHost: x\r\n" . join('', map { "X-$_: y\r\n" } 1 .. 10000) . "\r\n",    qr/^(400|413|431|closed)$/ ],
	[ 'a cookie of 20 kB',            request('GET', $signin, { Cookie => 'session=' . 'a' x 20000 }),                          qr/^(400|401|413|431|closed)$/ ],
	[ 'two lengths',                  "POST $signin HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\n{}\n", qr/^(400|401|403|415|closed|open)$/ ],
	[ 'a length and chunks',          "POST $signin HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", qr/^(4\d\d|closed)$/ ],
	[ 'a negative length',            request('POST', $signin, { 'Content-Length' => -5 }, '{}'),                               qr/^(400|413|closed)$/ ],
	[ 'a length that overflows',      request('POST', $signin, { 'Content-Length' => '9' x 30 }, '{}'),                         qr/^(400|413|closed)$/ ],
	[ 'a length of 10 GB',            request('POST', $signin, { 'Content-Length' => 10 * 2**30, 'Content-Type' => $json }, '{}'), qr/^413$/ ],
	[ 'a body of 20 MB',              request('POST', $signin, { 'Content-Type' => $json }, ' ' x 2e7),                         qr/^(413|closed)$/ ],
	[ 'chunks of 20 MB',              request('POST', $signin, { 'Content-Type' => $json, 'Transfer-Encoding' => 'chunked' }) . ("ffff\r\n" . ' ' x 65535 . "\r\n") x 300 . "0\r\n\r\n", qr/^(4\d\d|closed)$/ ],
	[ 'a chunk of a wrong length',    request('POST', $signin, { 'Content-Type' => $json, 'Transfer-Encoding' => 'chunked' }) . "zz\r\nxx\r\n", qr/^(400|411|closed)$/ ],
	[ 'deep JSON',                    request('POST', $signin, { 'Content-Type' => $json }, '[' x 16000),                       qr/^400$/ ],
	[ 'deep objects',                 request('POST', $signin, { 'Content-Type' => $json }, '{"a":' x 2600 . '1' . '}' x 2600), qr/^400$/ ],
	[ 'a body that is not UTF-8',     request('POST', $signin, { 'Content-Type' => $json }, "{\"user\":\"\xff\xfe\",\"password\":\"\xc0\x80\"}"), qr/^40[013]$/ ],
	[ 'a zero byte in a body',        request('POST', $signin, { 'Content-Type' => $json }, "{\"user\":\"a\0b\",\"password\":\"c\"}"), qr/^40[0134]$/ ],
	[ 'a zero byte in a name',        request('POST', $signin, { 'Content-Type' => $json }, '{"user":"alice\u0000","password":"alice"}'), qr/^(40[0134])$/ ],
	[ 'a user of 900 kB',             request('POST', $signin, { 'Content-Type' => $json }, '{"user":"' . 'u' x 900_000 . '","password":"x"}'), qr/^413$/ ],
	[ 'numbers as user and password', request('POST', $signin, { 'Content-Type' => $json }, '{"user":1,"password":[]}'),        qr/^40[013]$/ ],
	[ 'a query of nonsense',          request('GET', '/api/d/postgres/queues?&&==&%&%zz&a=%00&a=%ff&=&max_rows=1e99&state=%27', \%cookie), qr/^(200|400|404|closed)$/ ],
	[ 'a database of bytes',          request('GET', '/api/d/%00%ff%2f..%2f/queues', \%cookie),                                   qr/^(400|404)$/ ],
	[ 'a database with a connection string', request('GET', '/api/d/host%3D127.0.0.1%20dbname%3Dpostgres/queues', \%cookie),      qr/^(400|404)$/ ],
	[ 'a long name of a database',    request('GET', '/api/d/' . 'd' x 5000 . '/queues', \%cookie),                               qr/^(400|404)$/ ],
	[ 'an unknown page',              request('GET', '/api/d/postgres/nonsense', \%cookie),                                     qr/^404$/ ],
	[ 'a page that is a path',        request('GET', '/api/d/postgres/..%2finternal%2fbulk_delete', \%cookie),                  qr/^(400|404)$/ ],
	[ 'an internal statement',        request('GET', '/api/d/postgres/bulk_search', \%cookie),                                  qr/^404$/ ],
	[ 'a bulk that is not JSON',      request('POST', '/api/d/postgres/bulk', { %cookie, 'Content-Type' => $json }, '{"action":'), qr/^400$/ ],
	[ 'the end of a bulk that is none', request('DELETE', '/api/d/postgres/bulk/99999999999999999999999999', \%cookie),         qr/^(400|404)$/ ],
);
foreach my $case (@odd)
{
	my ($what, $bytes, $pattern) = @$case;

	like(outcome($dashboard, $bytes), $pattern, "$what: refused, or read as it can be");
	drip();
}
answers($alice, 'malformed requests');

foreach my $path ('/static/x/../../../../../../etc/passwd', '/static/../../etc/passwd', '/static/x/%2e%2e/%2e%2e/%2e%2e/etc/passwd', '/static/x/..%2f..%2f..%2fetc%2fpasswd', '/static/x/..%c0%af..%c0%afetc/passwd',
	'//etc/passwd', '/..%00/etc/passwd', '/static/x/app.js%00.html', '/static//etc/passwd', "/static/x/\\..\\..\\etc\\passwd")
{
	my $answer = http($dashboard, 'GET', $path);
	unlike($answer->{body} // '', qr/root:|LABEL|bgjob-dashboard:/, "$path leads to no file");
	like($answer->{status} // 'closed', qr/^(200|400|404|closed)$/, "$path: an answer");
}

# ---- many in one ----

{
	my $socket = connection($dashboard);
	my $rest   = '';
	my @answers;

	$socket->syswrite(join '', map { request('GET', $_ % 2 ? '/api/session' : '/nowhere.txt', $_ % 3 ? {%cookie} : {}) } 1 .. 30);
	push @answers, read_answer($socket, 30, \$rest) for 1 .. 30;
	is(scalar(grep { $_ } @answers), 30, 'thirty requests in one packet have thirty answers');
	is(join(' ', map { $_->{status} } @answers[ 0, 2, 4 ]), '200 401 200', 'in their order');
}

# ---- those that do not read ----

{
	my @deaf = map { connection($dashboard) } 1 .. 20;

	foreach my $socket (@deaf)
	{
		$socket->blocking(0);
		$socket->syswrite(join '', map { request('GET', '/', {}) } 1 .. 200);
	}
	answers($alice, 'clients that do not read');
	close $_ for @deaf;
}

# ---- a seeded fuzz run ----

# mutate BYTES changes some of them.
sub mutate
{
	my ($bytes) = @_;

	for (1 .. 1 + int rand 6)
	{
		my $at = int rand length $bytes;
		my $how = int rand 6;
		if    ($how == 0) { substr $bytes, $at, 1, chr int rand 256 }
		elsif ($how == 1) { substr $bytes, $at, int(rand 10), '' }
		elsif ($how == 2) { substr $bytes, $at, 0, chr(int rand 256) x int rand 40 }
		elsif ($how == 3) { substr $bytes, $at, 0, substr $bytes, int rand length $bytes, 1 + int rand 50 }
		elsif ($how == 4) { substr $bytes, $at, 0, ("\r\n", "\0", '%', '"', ': ', "\x{80}", '[', '{')[ rand 8 ] }
		else              { $bytes = substr $bytes, 0, $at }
		$bytes = ' ' if $bytes eq '';
	}
	return $bytes;
}

# fuzz SESSION, COUNT sends so many mutated requests, each over a connection of its own, twenty at a time.
sub fuzz
{
	my ($session, $count) = @_;
	my %headers = (Cookie => $session->{cookie}, 'X-CSRF-Token' => $session->{csrf}, 'Content-Type' => $json, 'Sec-Fetch-Site' => 'same-origin');
	my @seeds   = (
		request('GET',  '/',                                       \%headers),
		request('GET',  '/api/session',                            \%headers),
		request('GET',  '/api/d/postgres/queues?queue=failed&max_rows=5', \%headers),
		request('GET',  '/api/d/postgres/live',                    \%headers),
		request('GET',  '/metrics',                                \%headers),
		request('POST', '/api/d/postgres/do/requeue?preview=1',    \%headers, '{"id":"7","from_state":"failed"}'),
		request('POST', '/api/d/postgres/bulk?preview=1',          \%headers, '{"action":"requeue","query":"state:failed","from_state":"failed"}'),
		request('POST', '/api/d/postgres/bulk',                    \%headers, '{"action":"change","ids":["1","2"],"priority":3}'),
		request('POST', '/api/session', { %headers, 'Transfer-Encoding' => 'chunked' }) . "10\r\n{\"user\":\"alice\"}\r\n0\r\n\r\n");

	srand 20;
	while ($count > 0)
	{
		my @sockets;
		local $SIG{PIPE} = 'IGNORE';
		for (1 .. 20)
		{
			my $socket = connection($session->{dashboard}) or next;
			$socket->syswrite(mutate($seeds[ rand @seeds ]));
			push @sockets, $socket;
			$count--;
		}
		# Some answers are read, of others the client does not await the end.
		foreach my $socket (@sockets) { sysread $socket, my $bytes, 100 if IO::Select->new($socket)->can_read(0.005) }
	}
}
fuzz($alice, 3000);
ok(is_up($dashboard), '3000 mutated requests do not end the program') || diag(last_logged($dashboard));
answers($alice = sign_in($dashboard, 'alice'), 'after them');
drip();

# ---- many at once ----

# has_room DASHBOARD returns whether 505 of the 512 connections of an address are free. The sockets of clients that were reset are no
# longer to be seen in /proc, though a request of theirs may still be worked on, and take a place.
sub has_room
{
	my ($target) = @_;
	my @many = map { connection($target) } 1 .. 505;
	local $SIG{PIPE} = 'IGNORE';

	$_->syswrite(request('GET', '/healthz')) for @many;
	my $answered = grep { my $answer = read_answer($_); $answer && $answer->{status} == 200 } @many;
	close $_ for @many;
	return until_true(sub { sockets_of($target) <= 7 }, 60) && $answered == 505;
}
ok(until_true(sub { has_room($dashboard) }, 120), 'the connections of before are gone, but for the slow ones');
my $memory      = memory_of($dashboard);
my $sockets = sockets_of($dashboard);
{
	my @many = map { connection($dashboard) } 1 .. 500;

	is(scalar(grep { $_ } @many), 500, 'five hundred connections are accepted');
	answers($alice, 'five hundred connections at once');
	$_->syswrite(request('GET', '/api/session', { Cookie => $alice->{cookie} })) for @many;
	is(scalar(grep { my $answer = read_answer($_); $answer && $answer->{status} == 200 } @many), 500, 'a request over each of them is answered');
	push @many, grep { $_ } map { connection($dashboard) } 1 .. 300;
	ok(is_up($dashboard), 'eight hundred do not end it');
	close $_ for @many;
	answers($alice, 'when they are gone');
}
ok(until_true(sub { sockets_of($dashboard) <= $sockets }), 'their sockets are closed') || diag(sockets_of($dashboard) . " instead of $sockets");
drip();

# ---- viewers that vanish ----

{
	my @viewers = map { viewer($alice) } 1 .. 15;

	is(scalar(grep { my $event = next_event($_); $event && $event->{event} eq 'message' } @viewers), 15, 'viewers get events');
	close $_->{socket} for @viewers;
	ok(until_true(sub { sockets_of($dashboard) <= $sockets + 2 }), 'the sockets of those that vanish are closed');
	ok(until_true(sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'alice' AND query_start > now() - interval '3 s'}) eq '0' }),
		'nobody listens: no statement runs');
}

# ---- the server is restarted under it ----

{
	my $viewer = viewer($alice);
	my $event;

	next_event($viewer);
	$node->stop('immediate');
	ok(until_true(sub { $event = next_event($viewer, 10); !$event || $event->{event} eq 'problem' }), 'viewers hear of a server that is away');
	is($event && ref $event->{json}{error}, 'HASH', 'with the error');
	is(api($alice, 'GET', 'd/postgres/queues')->{status}, 503, 'a page is 503 while the server is away');
	$node->start;
	ok(until_true(sub { $event = next_event($viewer, 10); !$event || $event->{event} eq 'message' }) && $event, 'and go on when it is back');
	ok(until_true(sub { api($alice, 'GET', 'd/postgres/queues')->{status} == 200 }), 'so do pages, in the same session');
	close $viewer->{socket};
}

# ---- at the end ----

ok(until_true(sub { drip(); usleep(500_000); !grep { !$_->{closed} } @slow }, 120), 'slow connections are closed, although they send a byte now and then');
cmp_ok(memory_of($dashboard), '<', $memory + 40_000, 'the memory is bounded');
is(end_dashboard($dashboard), 0, 'it leaves as it was asked to');
unlike(logged($dashboard), qr/alice"?,"password|password":/, 'no password is logged');

# ---- the same with the address sanitizer ----

# build_with_sanitizer returns the name of the program, built so; undef: it cannot be built here.
sub build_with_sanitizer
{
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $program = "$folder/tree/bgjob-dashboard";
	my $config = $ENV{PG_CONFIG} // 'pg_config';

	open my $probe, '>', "$folder/probe.c" or die $!;
	print $probe "int main(void) { return 0; }\n";
	close $probe;
	return undef if system("cc -fsanitize=address,undefined $folder/probe.c -o $folder/probe >/dev/null 2>&1 && $folder/probe") != 0;
	# The sanitizer attaches to the program at its end, to look for leaks; the program would not let it.
	open my $permissive, '>', "$folder/prctl.c" or die $!;
	print $permissive "int prctl(int option, ...) { return 0; }\n";
	close $permissive;
	system("cc -c $folder/prctl.c -o $folder/prctl.o") == 0 or die;
	system("mkdir $folder/tree && cp -r $top/src $top/Makefile $top/bgjob.control $folder/tree/ && find $folder/tree -name '*.o' -delete && rm -f $program") == 0 or die;
	system("make -C $folder/tree PG_CONFIG=$config COPT='-g -O1 -fsanitize=address,undefined -fno-omit-frame-pointer' LDFLAGS_EX=$folder/prctl.o bgjob-dashboard >$folder/build.log 2>&1") == 0
	  or diag(slurp_file("$folder/build.log"));
	return -x $program ? $program : undef;
}

SKIP:
{
	my $program = build_with_sanitizer();
	skip('the compiler has no address sanitizer', 6) unless $program;

	my $checked = start_dashboard({ program => [$program], env => { ASAN_OPTIONS => 'detect_leaks=1:exitcode=99', UBSAN_OPTIONS => 'print_stacktrace=1' } });
	my $session = sign_in($checked, 'alice');
	answers($session, 'with the sanitizer');
	outcome($checked, $_->[1]) for @odd;
	fuzz($session, 1000);
	$session = sign_in($checked, 'alice');
	my @viewers = map { viewer($session) } 1 .. 5;
	next_event($_) for @viewers;
	close $_->{socket} for @viewers[ 0 .. 3 ];
	my $second = sign_in($checked, 'alice');
	is(api($second, 'POST', 'd/postgres/bulk', { action => 'delete', ids => [ 1 .. 1000 ] })->{status}, 202, 'with the sanitizer: a bulk begins');
	$node->restart;
	ok(until_true(sub { api($session, 'GET', 'd/postgres/queues')->{status} == 200 }), 'with the sanitizer: the server is restarted') || diag(last_logged($checked));
	is(api($session, 'DELETE', 'session')->{status}, 200, 'with the sanitizer: a session ends, and its viewer with it');
	is(end_dashboard($checked), 0, 'with the sanitizer: it ends in order, and leaks nothing');
	unlike(logged($checked), qr/Sanitizer|runtime error/, 'the sanitizer finds nothing') || diag(last_logged($checked));
}

$node->stop;
done_testing();
