# bgjob-dashboard: its options, what it answers, who signs in, what roles see and do by requests of their own making, what other sites
# cannot have a browser do, and what it says where arguments are hidden, all is read-only, a proxy or TLS is before it, or the server is away.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobDashboard;
use BgjobTest;
use IO::Uncompress::Gunzip ();
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $top  = "$FindBin::RealBin/../..";
my $node = bgjob_cluster('dashboard', 'bgjob.workers' => 1, max_connections => 80);
dashboard_on($node);
user('alice');
user('bob');
$node->safe_psql('postgres', $_) for 'CREATE DATABASE shop', 'CREATE DATABASE plain', 'CREATE DATABASE closed', 'REVOKE CONNECT ON DATABASE closed FROM public';
$node->safe_psql('shop', 'CREATE EXTENSION bgjob; GRANT USAGE ON SCHEMA bgjob TO users');

# value SQL returns what a superuser reads.
sub value { return $node->safe_psql('postgres', $_[0]) }

# enqueue ROLE [, SQL] enqueues a job of a role for tomorrow; returns its id.
sub enqueue
{
	my ($role, $args) = @_;

	return (split /\n/, value("SET ROLE $role; SELECT bgjob_enqueue('pg_catalog.now', delay => '1 day')"))[-1];
}

sub state { return value("SELECT state FROM bgjob.jobs WHERE id = $_[0]") }

# connections ROLE returns how many connections of the dashboard a role has.
sub connections { return value("SELECT count(*) FROM pg_stat_activity WHERE usename = '$_[0]' AND application_name = 'bgjob-dashboard'") }

# ---- the command line ----

my %options = map {
	my $text   = $_;
	my $output = $text eq 'help' ? `bgjob-dashboard --help` : slurp_file("$top/doc/man/bgjob-dashboard.1");
	$output =~ s/\\//g;
	my %seen = map { $_ => 1 } $output =~ /(?<![\w-])--([a-z][a-z-]+)/g;
	($text => join ' ', sort keys %seen);
} qw(help man);
my ($listed) = slurp_file("$top/src/dashboard/config.c") =~ /struct option options\[\] = \{(.*?)\n\};?/s;
is($options{help}, join(' ', sort $listed =~ /\{"([a-z-]+)"/g), '--help shows the options');
is($options{man}, $options{help}, 'the manual page has them, too');
like(`bgjob-dashboard --version`, qr/^bgjob-dashboard \(bgjob\) 1\.0$/, '--version shows the version');

my $folder = PostgreSQL::Test::Utils::tempdir();
system('openssl', qw(req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout), "$folder/key.pem", '-out', "$folder/cert.pem", '-batch', '-quiet') == 0
  or system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout $folder/key.pem -out $folder/cert.pem 2>/dev/null") == 0
  or die 'no certificate';
chmod 0600, "$folder/key.pem";
append_to_file("$folder/open.pem", slurp_file("$folder/key.pem"));
chmod 0644, "$folder/open.pem";

foreach my $case (
	[ 64, ['--nonsense'],                                                         qr/--help/,                                        'an unknown option' ],
	[ 64, ['jobs'],                                                               qr/too many command-line arguments \(first is "jobs"\)/, 'an argument' ],
	[ 64, [ '--base-path', 'jobs' ],                                              qr/invalid value "jobs" for option --base-path/,   'a base path without a slash' ],
	[ 64, [ '--base-path', '/a"b' ],                                              qr/for option --base-path/,                        'a base path with a quote' ],
	[ 64, [ '--colour', 'url(x)' ],                                               qr/for option --colour/,                           'a colour that is none' ],
	[ 64, [ '--session-timeout', 'never' ],                                       qr/for option --session-timeout/,                  'a time that is none' ],
	[ 64, [ '--databases', 'a,,b' ],                                              qr/for option --databases/,                        'a list with an empty name' ],
	[ 64, [ '-d', 'postgresql://[x/y' ],                                          qr/error/,                                         'a wrong URI' ],
	[ 64, [ '--tls-cert', "$folder/cert.pem" ],                                   qr/belong together/,                               'a certificate without its key' ],
	[ 78, [ '--tls-cert', "$folder/none.pem" ],                                   qr/could not open file/,                           'a certificate that is not there' ],
	[ 78, [ '--tls-cert', "$folder/cert.pem", '--tls-key', "$folder/open.pem" ],  qr/has group or world access/,                     'a key that all can read' ],
	[ 78, [ '--listen', '0.0.0.0:0' ],                                            qr/cannot listen at "0\.0\.0\.0:0" without TLS/,   'all addresses without TLS' ],
	[ 78, [ '--listen', '*:0' ],                                                  qr/without TLS/,                                   'all addresses of both kinds without TLS' ],
	[ 78, [ '--listen', 'nowhere.invalid:1' ],                                    qr/is no address/,                                 'an address that is none' ],
  )
{
	my ($expected, $given, $pattern, $what) = @$case;
	my $log = '';

	IPC::Run::run([ 'bgjob-dashboard', @$given ], '<', '/dev/null', '>&', \$log, IPC::Run::timeout(60));
	is($? >> 8, $expected, "$what: exit code");
	like($log, $pattern, "$what: the program says so");
}

# ---- what is there without signing in ----

my $dashboard = start_dashboard();
my $answer    = http($dashboard, 'GET', '/healthz');
is("$answer->{status} $answer->{body}", "200 ok\n", '/healthz is served');
$answer = http($dashboard, 'GET', '/readyz');
is("$answer->{status} $answer->{body}", "200 ok\n", '/readyz is served');

my %wanted = (
	'content-security-policy'      => qr/^default-src 'none'; .*frame-ancestors 'none'$/,
	'x-content-type-options'       => qr/^nosniff$/,
	'referrer-policy'              => qr/^same-origin$/,
	'cross-origin-opener-policy'   => qr/^same-origin$/,
	'cross-origin-resource-policy' => qr/^same-origin$/);
foreach my $path ('/', '/d/postgres/jobs?state=failed', '/healthz', '/api/session', '/api/nothing', '/static/x/y.js')
{
	$answer = http($dashboard, 'GET', $path);
	is(join(' ', grep { ($answer->{headers}{$_} // '') !~ $wanted{$_} } sort keys %wanted), '', "$path: the headers of security");
	is($answer->{headers}{'strict-transport-security'}, undef, "$path: no promise of TLS without it");
}
is(http($dashboard, 'GET', '/api/session')->{headers}{'cache-control'}, 'no-store', 'answers of the API are stored nowhere');
is(http($dashboard, 'GET', '/api/nothing')->{status}, 404, 'what is not there in the API is 404');
is(ref http($dashboard, 'GET', '/api/nothing')->{json}{error}, 'HASH', 'and the error is JSON');
my $page = http($dashboard, 'GET', '/');
is(http($dashboard, 'GET', '/d/postgres/jobs')->{body}, $page->{body}, 'the page itself is served at every other address');
is(http($dashboard, 'GET', '/', { 'If-None-Match' => $page->{headers}{etag} })->{status}, 304, 'the page is not sent again');
is(http($dashboard, 'HEAD', '/')->{headers}{'content-length'}, length $page->{body}, 'HEAD is answered');
like($page->{headers}{'content-security-policy'}, qr/^default-src 'none'; script-src 'self'; style-src 'self'; .*frame-ancestors 'none'$/, 'it may load scripts and styles from here');
my ($script) = $page->{body} =~ m{src="(/static/[0-9a-f]+/app\.js)"};
my $text = slurp_file("$top/src/dashboard/web/app.js");
is(http($dashboard, 'GET', $script)->{body}, $text, 'a file is served as it is');
$answer = http($dashboard, 'GET', $script, { 'Accept-Encoding' => 'br, gzip;q=0.8' });
is($answer->{headers}{'content-encoding'}, 'gzip', 'and compressed for those that take it');
IO::Uncompress::Gunzip::gunzip(\$answer->{body}, \my $unpacked);
is($unpacked, $text, 'with the same contents');
is($answer->{headers}{'content-type'}, 'text/javascript; charset=utf-8', 'with its type');
like($answer->{headers}{'cache-control'}, qr/immutable/, 'to be kept');
is(http($dashboard, 'GET', $script, { 'Accept-Encoding' => 'gzip;q=0' })->{headers}{'content-encoding'}, undef, 'not for those that refuse it');
is(http($dashboard, 'GET', $script =~ s/[0-9a-f]{16}/0000000000000000/r)->{status}, 404, 'other versions are not served');
foreach my $case ([ 'PUT', '/' ], [ 'POST', '/healthz' ], [ 'OPTIONS', '/api/session' ], [ 'GET', '/api/d/postgres/do/delete' ], [ 'DELETE', '/api/d/postgres/jobs' ])
{
	$answer = http($dashboard, @$case);
	is($answer->{status}, 405, "@$case: the method is refused");
	ok($answer->{headers}{allow}, "@$case: with those that are allowed");
}

# ---- signing in ----

my $alice = sign_in($dashboard, 'alice');
is($alice->{answer}{status}, 200, 'alice signs in') || diag(logged($dashboard));
like($alice->{answer}{headers}{'set-cookie'}, qr{^bgjob_session_\d+=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Strict$}, 'the cookie is kept from scripts and other sites');
is_deeply($alice->{answer}{json}{databases}, [qw(postgres plain shop)], 'the databases that the role may connect to are listed');
is($alice->{answer}{json}{user}, 'alice', 'with the role');
$answer = api($alice, 'GET', 'session');
is($answer->{json}{csrf}, $alice->{csrf}, 'the page learns the token again');
is(http($dashboard, 'GET', '/api/session', { Cookie => $alice->{cookie} =~ s/.$/x/r })->{status}, 401, 'another id is no session');

my $wrong = sign_in($dashboard, 'alice', 'wrong')->{answer};
is($wrong->{status}, 401, 'a wrong password is refused');
my $unknown = sign_in($dashboard, 'nobody_at_all', 'x')->{answer};
is($unknown->{body}, $wrong->{body}, 'an unknown role gets the same answer');
is($unknown->{status}, 401, 'with the same status');
is(sign_in($dashboard, 'alice', '')->{answer}{status}, 400, 'an empty password is refused');
is(sign_in($dashboard, '', 'x')->{answer}{status}, 400, 'no role is refused');
value(q{CREATE ROLE trusted LOGIN PASSWORD 'trusted'});
$answer = sign_in($dashboard, 'trusted')->{answer};
is($answer->{status}, 403, 'a role that the server trusts cannot sign in');
is($answer->{headers}{'set-cookie'}, undef, 'and gets no session');
is(sign_in($dashboard, 'postgres', 'x')->{answer}{status}, 403, 'neither can the superuser, whatever password');
value(q{CREATE ROLE "O'Brien ""x"" é\\" LOGIN PASSWORD 'it''s "\\ é' IN ROLE users});
is(sign_in($dashboard, "O'Brien \"x\" \x{e9}\\", "it's \"\\ \x{e9}")->{answer}{status}, 200, 'names and passwords of any kind sign in') || diag(logged($dashboard));
foreach my $body ('', '[]', '{"user": "alice"', '{"user": ["alice"], "password": "alice"}', "\xff")
{
	is(http($dashboard, 'POST', '/api/session', { 'Content-Type' => 'application/json' }, $body)->{status}, 400, 'a body that is none is refused');
}
is(http($dashboard, 'POST', '/api/session', { 'Content-Type' => 'application/json' }, '{"user": "' . ('x' x 20000) . '"}')->{status}, 413, 'one that is too long is refused');

# ---- other sites ----

my $job  = enqueue('alice');
my %good = (Cookie => $alice->{cookie}, 'X-CSRF-Token' => $alice->{csrf}, 'Content-Type' => 'application/json');
my $body = qq({"id": "$job"});
foreach my $case (
	[ 401, 'no cookie',              Cookie           => '' ],
	[ 403, 'no token',               'X-CSRF-Token'   => '' ],
	[ 403, 'another token',          'X-CSRF-Token'   => 'a' x 64 ],
	[ 403, 'another site',           'Sec-Fetch-Site' => 'cross-site' ],
	[ 403, 'another host',           'Sec-Fetch-Site' => 'same-site' ],
	[ 403, 'a link elsewhere',       'Sec-Fetch-Site' => 'none' ],
	[ 403, 'another origin',         Origin           => 'http://evil.example' ],
	[ 403, 'an origin that is null', Origin           => 'null' ],
	[ 415, 'a form',                 'Content-Type'   => 'application/x-www-form-urlencoded' ],
	[ 415, 'plain text',             'Content-Type'   => 'text/plain' ])
{
	my ($expected, $what, %changed) = @$case;

	is(http($dashboard, 'POST', '/api/d/postgres/do/delete', { %good, %changed }, $body)->{status}, $expected, "$what: refused");
}
is(state($job), 'scheduled', 'nothing of that was done');
is(http($dashboard, 'GET', '/api/session', { %good, 'Sec-Fetch-Site' => 'cross-site' })->{status}, 403, 'another site reads nothing either');
is(http($dashboard, 'POST', '/api/session', { 'Content-Type' => 'application/json', 'Sec-Fetch-Site' => 'cross-site' }, '{"user": "alice", "password": "alice"}')->{status},
	403, 'and signs nobody in');
is(http($dashboard, 'DELETE', '/api/session', { %good, 'X-CSRF-Token' => '' })->{status}, 403, 'and signs nobody out');
is(http($dashboard, 'POST', '/api/d/postgres/do/delete?preview=1', { %good, Origin => 'http://localhost' }, $body)->{status}, 200, 'the own origin is no other site');

# ---- pages and actions ----

is_deeply(api($alice, 'POST', 'd/postgres/do/delete?preview=1', { id => $job, from_state => "it's" })->{json},
	{ sql => "SELECT to_json(public.bgjob_delete(id => $job\::bigint, from_state => 'it''s'::text))" }, 'a preview is the SQL alone');
is(state($job), 'scheduled', 'and does nothing');
is_deeply(api($alice, 'POST', 'd/postgres/do/delete', { id => $job, from_state => 'failed' })->{json}{result}, JSON::PP::false, 'a stale page does nothing');
$answer = api($alice, 'POST', 'd/postgres/do/change', { id => $job, queue => 'mail', priority => 3 });
is_deeply($answer->{json}, { result => JSON::PP::true, sql => "SELECT to_json(public.bgjob_change(id => $job\::bigint, queue => 'mail'::text, priority => 3::int))" },
	'an action answers with its result and its SQL')
  || diag($answer->{body});
is(value("SELECT queue, priority FROM bgjob.jobs WHERE id = $job"), 'mail|3', 'and is done');
$answer = api($alice, 'POST', 'd/postgres/do/reschedule', { id => $job, run_at => '2099-01-01T00:00:00Z' });
is($answer->{json}{result}, JSON::PP::true, 'a job is rescheduled');
is(value("SELECT run_at AT TIME ZONE 'UTC' FROM bgjob.jobs WHERE id = $job"), '2099-01-01 00:00:00', 'to that time');
$answer = api($alice, 'POST', 'd/postgres/do/delete', { id => '1); DROP TABLE bgjob_internal.job; --' });
is("$answer->{status} $answer->{json}{error}{sqlstate}", '400 22P02', 'a value is never SQL');
is(api($alice, 'POST', 'd/postgres/do/delete', { id => "\x{0}" })->{status}, 400, 'a value that no text can be is refused');
is(api($alice, 'POST', 'd/postgres/do/nothing', {})->{status}, 404, 'an action that is not there is 404');
is(api($alice, 'POST', 'd/postgres/do/databases', {})->{status}, 404, 'what the program itself asks is no action');
is(api($alice, 'GET', 'd/postgres/databases')->{status}, 404, 'nor a page');
is(api($alice, 'POST', 'd/postgres/do/delete', [])->{status}, 400, 'a body that is no object is refused');
is(http($dashboard, 'POST', '/api/d/postgres/do/delete', { %good, 'Content-Length' => 2_000_000 }, '{')->{status}, 413, 'a body that is too long is refused before it is sent');
$answer = api($alice, 'GET', 'd/postgres/queues');
is($answer->{status}, 200, 'a page is served') || diag($answer->{body});
like($answer->{body}, qr/^\{"data": .*, "ms": \d+\.\d+\}$/s, 'with the time that its statement took');
is(api($alice, 'GET', 'd/postgres/nothing')->{status}, 404, 'a page that is not there is 404');
is(api($alice, 'GET', "d/postgres/$_")->{status}, 400, "$_: a value that a page does not know is 400") for 'batches?state=nonsense', 'batches?state=failed%7Cdeleted', 'history?bucket=', 'failures?sort=job';
is(api($alice, 'GET', "d/postgres/$_")->{status}, 200, "$_: one that it knows is served") for 'batches?state=failed', 'history?bucket=day', 'failures?sort=last', 'failures';
is(api($alice, 'GET', 'd/nowhere/queues')->{status}, 404, 'so is a database that is not there');
is(api($alice, 'GET', 'd/closed/queues')->{status}, 403, 'a database that the role may not connect to is 403');
is(api($alice, 'GET', 'd/plain/queues')->{status}, 404, 'a database without the extension is 404');
is_deeply(api($alice, 'GET', 'session')->{json}{databases}, [qw(postgres shop)], 'and is listed no more');
is(api($alice, 'GET', 'd/shop/queues')->{status}, 200, 'other databases of the cluster are served');
$node->safe_psql('plain', 'CREATE EXTENSION bgjob; GRANT USAGE ON SCHEMA bgjob TO users');
is(api($alice, 'GET', 'd/plain/queues')->{status}, 200, 'a database that gets the extension is found');
$node->safe_psql('plain', 'DROP EXTENSION bgjob; CREATE SCHEMA "My Schema"; CREATE EXTENSION bgjob SCHEMA "My Schema"; GRANT USAGE ON SCHEMA bgjob, "My Schema" TO users');
ok(until_true(sub { api($alice, 'POST', 'd/plain/do/delete', { id => 1 })->{status} == 200 }), 'one whose extension moves is found again');
like(api($alice, 'POST', 'd/plain/do/delete?preview=1', { id => 1 })->{json}{sql}, qr/"My Schema"\.bgjob_delete/, 'in its schema');

sub shown { return api($alice, 'POST', "d/postgres/do/$_[0]?preview=1", $_[1])->{json}{sql} }
like(shown('reschedule', { id => 1, delay => '1 h, or so' }), qr/bgjob_reschedule\(id => 1::bigint, delay => '1 h, or so'::interval\)/, 'an argument that is not given is not shown');
like(shown('recurring_save', { name => 'a, b => (', queue => 'x' }), qr/bgjob_recurring\(name => 'a, b => \('::text, queue => 'x'::text\)/, 'however many these are');
like(shown('server_set', { name => 'x' }), qr/\(name => 'x'::text, queues => NULL::text\[\]\)/, 'but one is that would mean something else then');

# ---- a database whose owner means no good ----

# Operators and functions that raise "caught" stand before those of pg_catalog.
$node->safe_psql('shop', 'CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO public');
foreach my $type (qw(int4 int8 text name bool timestamptz))
{
	$node->safe_psql('shop', "CREATE FUNCTION evil.compare($type, $type) RETURNS bool LANGUAGE plpgsql AS \$\$BEGIN RAISE EXCEPTION 'caught'; END\$\$");
	$node->safe_psql('shop', "CREATE OPERATOR evil.$_ (leftarg = $type, rightarg = $type, function = evil.compare)") for '=', '<>', '<', '>';
}
$node->safe_psql('shop', "CREATE FUNCTION evil.$_(anyelement) RETURNS json LANGUAGE plpgsql AS \$\$BEGIN RAISE EXCEPTION 'caught'; END\$\$") for qw(to_json to_jsonb quote_ident);
$node->safe_psql('shop', 'CREATE FUNCTION evil.mine() RETURNS int LANGUAGE sql RETURN 1; ALTER DATABASE shop SET search_path = evil, pg_catalog, public');
my $copied = (split /\n/, $node->safe_psql('shop', "SET search_path = pg_catalog, public; SET ROLE alice; SELECT bgjob_enqueue('pg_catalog.now', delay => '1 day')"))[-1];
my $victim = sign_in($dashboard, 'alice');
foreach my $file (sort glob "$top/src/dashboard/sql/*.sql")
{
	my ($name) = $file =~ m{(\w+)\.sql$};
	next if $name eq 'live';
	$answer = api($victim, 'GET', "d/shop/$name");
	unlike($answer->{body}, qr/caught/, "page $name: names are those of pg_catalog");
}
$answer = api($victim, 'POST', 'd/shop/do/copy_job', { id => $copied });
is($answer->{status}, 200, 'action copy_job: so are its names') || diag($answer->{body});
is($node->safe_psql('shop', "SET search_path = pg_catalog; SELECT settings->>'search_path' FROM bgjob.jobs WHERE id > $copied"), 'evil, pg_catalog, public',
	'action copy_job: the job keeps the search_path of the role');
unlike($answer->{json}{sql}, qr/set_config/, 'action copy_job: its SQL is what the role itself would write');
$answer = api($victim, 'POST', 'd/shop/do/recurring_save', { name => 'mine', schedule => '@hourly', job => 'mine' });
is($answer->{status}, 200, 'action recurring_save: the function is looked up as the role would') || diag($answer->{body});
$node->safe_psql('shop', 'SET search_path = pg_catalog, public; ALTER DATABASE shop RESET search_path; DROP SCHEMA evil CASCADE');

# ---- two roles ----

my $bob = sign_in($dashboard, 'bob');
is($bob->{answer}{status}, 200, 'bob signs in');
isnt($bob->{cookie}, $alice->{cookie}, 'with a session of his own');
$answer = api($bob, 'POST', 'd/postgres/do/delete', { id => $job });
ok($answer->{status} == 403 || $answer->{json}{result} == JSON::PP::false, 'bob cannot delete the job of alice') || diag($answer->{body});
is(state($job), 'scheduled', 'it is still there');
is(http($dashboard, 'POST', '/api/d/postgres/do/delete', { %good, Cookie => $bob->{cookie} }, $body)->{status}, 403, 'the token of alice is none of bob');
my $his = enqueue('bob');
is(api($bob, 'POST', 'd/postgres/do/delete', { id => $his })->{json}{result}, JSON::PP::true, 'bob deletes a job of his own');
is(api($alice, 'POST', 'd/postgres/do/delete', { id => $job })->{json}{result}, JSON::PP::true, 'and alice hers');
is(state($job), 'deleted', 'it is deleted');

# ---- signing out, and sessions that end by themselves ----

cmp_ok(connections('bob'), '>', 0, 'bob has connections');
is(api($bob, 'DELETE', 'session')->{status}, 200, 'bob signs out');
is(api($bob, 'GET', 'session')->{status}, 401, 'his session is over');
ok(until_true(sub { connections('bob') == 0 }), 'his connections are closed');
$bob = sign_in($dashboard, 'bob');
value(q{ALTER ROLE bob PASSWORD 'other'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bob'});
ok(until_true(sub { api($bob, 'GET', 'd/postgres/queues')->{status} == 401 }), 'a session ends when the password is no longer right') || diag(logged($dashboard));
is(api($bob, 'GET', 'session')->{status}, 401, 'for good');
my @sessions = map { sign_in($dashboard, 'alice') } 1 .. 21;
is(scalar(grep { $_->{answer}{status} == 200 } @sessions), 21, 'a role may sign in many times');
is(api($sessions[0], 'GET', 'session')->{status}, 401, 'but has twenty sessions at most');
is(api($sessions[20], 'GET', 'session')->{status}, 200, 'the last ones');
api($_, 'DELETE', 'session') for @sessions;

# ---- the server is restarted ----

$alice = sign_in($dashboard, 'alice');
is(api($alice, 'GET', 'd/postgres/queues')->{status}, 200, 'before a restart: a page is served');
$node->stop;
$answer = api($alice, 'GET', 'd/postgres/queues');
is($answer->{status}, 503, 'without the server: 503');
is($answer->{headers}{'retry-after'}, 1, 'with a time to come back');
is(api($alice, 'GET', 'session')->{status}, 200, 'without the server: the session goes on');
is(http($dashboard, 'GET', '/healthz')->{status}, 200, 'without the server: /healthz');
is(http($dashboard, 'GET', '/readyz')->{status}, 503, 'without the server: /readyz');
is(http($dashboard, 'GET', '/metrics')->{status}, 503, 'without the server: /metrics');
is(sign_in($dashboard, 'bob', 'other')->{answer}{status}, 503, 'without the server: nobody signs in');
$node->start;
ok(until_true(sub { api($alice, 'GET', 'd/postgres/queues')->{status} == 200 }), 'after the restart: the same session is served');
ok(until_true(sub { http($dashboard, 'GET', '/readyz')->{status} == 200 }), 'after the restart: /readyz');

# ---- metrics ----

ok(until_true(sub { ($answer = http($dashboard, 'GET', '/metrics'))->{status} == 200 }), '/metrics is served') || diag($answer->{body});
is($answer->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8', 'as Prometheus reads it');
like($answer->{body}, qr/^# TYPE bgjob_\w+ (?:gauge|counter|histogram)$/m, 'with types');
like($answer->{body}, qr/^bgjob_\w+\{[^}]*database="$_"/m, "of database $_") for qw(postgres shop);

# ---- throttling ----

user('carol');
sign_in($dashboard, 'carol', 'wrong') for 1 .. 6;
$answer = sign_in($dashboard, 'carol')->{answer};
is($answer->{status}, 429, 'after some failures the next attempt has to wait') || diag($answer->{body});
cmp_ok($answer->{headers}{'retry-after'}, '>', 0, 'for some time');
ok(until_true(sub { sign_in($dashboard, 'carol')->{answer}{status} == 200 }), 'then the right password signs in');
sign_in($dashboard, 'carol', 'wrong') for 1 .. 7;
is(sign_in($dashboard, 'carol')->{answer}{status}, 200, 'where a role has signed in, it is not kept out so soon');
like(logged($dashboard), qr/sign-in of role "alice" from 127\.0\.0\.1: .*password authentication failed/, 'the log says why the server has refused a role');
unlike(logged($dashboard), qr/other|wrong/, 'no password is logged');
is(end_dashboard($dashboard), 0, 'the program leaves as it was asked to');

# ---- other ways to start it ----

value(q{SET ROLE alice; SELECT bgjob_signal('hush', '{"secret": 4711}')});
$dashboard = start_dashboard();
$alice = sign_in($dashboard, 'alice');
like(api($alice, 'GET', 'd/postgres/signals')->{body}, qr/4711/, 'a payload is shown');
end_dashboard($dashboard);

$dashboard = start_dashboard('--read-only', '--hide-arguments', '--title', 'a "title"', '--colour', '#c2410c', '--databases', 'shop,postgres', '--base-path', '/jobs/');
$dashboard->{base} = '/jobs';
$alice = sign_in($dashboard, 'alice');
is_deeply(
	{ map { $_ => $alice->{answer}{json}{$_} } qw(title colour read_only hide_arguments databases) },
	{ title => 'a "title"', colour => '#c2410c', read_only => JSON::PP::true, hide_arguments => JSON::PP::true, databases => [qw(postgres shop)] },
	'the page learns what it shall look like');
like($alice->{answer}{headers}{'set-cookie'}, qr{; Path=/jobs; }, 'below a base path: the cookie is for it alone');
is(api($alice, 'GET', 'd/plain/queues')->{status}, 404, '--databases: others are not there');
my $signals = api($alice, 'GET', 'd/postgres/signals');
like($signals->{body}, qr/hush/, '--hide-arguments: the signal is shown');
unlike($signals->{body}, qr/4711/, '--hide-arguments: its payload is not');
$job = enqueue('alice');
$answer = api($alice, 'POST', 'd/postgres/do/delete', { id => $job });
is($answer->{status}, 403, '--read-only: actions are refused');
is(api($alice, 'POST', 'd/postgres/do/delete?preview=1', { id => $job })->{status}, 200, '--read-only: their SQL is shown');
is(api($alice, 'POST', 'd/postgres/bulk', { action => 'delete', ids => [$job] })->{status}, 403, '--read-only: so are those on many jobs');
is(state($job), 'scheduled', '--read-only: nothing was done');
$page = http($dashboard, 'GET', '/jobs/d/postgres/jobs');
($script) = $page->{body} =~ m{src="/jobs(/static/[0-9a-f]+/app\.js)"};
ok($script, 'below a base path: the page names its files below it');
is(http($dashboard, 'GET', "/jobs$script")->{status}, 200, 'below a base path: a proxy that passes the path on');
is(http($dashboard, 'GET', $script)->{status}, 200, 'below a base path: a proxy that removes it');
is(http($dashboard, 'GET', '/api/session', { Cookie => $alice->{cookie} })->{status}, 200, 'below a base path: the same for the API');
$answer = http($dashboard, 'POST', '/jobs/api/session', { 'Content-Type' => 'application/json', Origin => 'https://localhost' }, '{"user": "alice", "password": "alice"}');
like($answer->{headers}{'set-cookie'}, qr/; Secure$/, 'behind a proxy with TLS: the cookie is for TLS alone');
end_dashboard($dashboard);

$dashboard = start_dashboard('--session-timeout', '1s');
$alice = sign_in($dashboard, 'alice');
ok(until_true(sub { connections('alice') == 0 }), '--session-timeout: connections of an idle session are closed');
is(api($alice, 'GET', 'session')->{status}, 401, '--session-timeout: it is over');
end_dashboard($dashboard);

$dashboard = start_dashboard('--tls-cert', "$folder/cert.pem", '--tls-key', "$folder/key.pem");
my @curl = ('curl', '-s', '-i', '--cacert', "$folder/cert.pem", '--resolve', "localhost:$dashboard->{port}:127.0.0.1");
my $url  = "https://localhost:$dashboard->{port}";
my $said = '';
IPC::Run::run([ @curl, '-H', 'Content-Type: application/json', '-d', '{"user": "alice", "password": "alice"}', "$url/api/session" ], '>', \$said);
like($said, qr{^HTTP/1\.1 200 .*^strict-transport-security: max-age=\d+\r$}msi, 'with TLS: a role signs in, and TLS is promised');
like($said, qr/^Set-Cookie: .*; Secure\r$/m, 'with TLS: the cookie is for TLS alone');
IPC::Run::run([ @curl, '--tls-max', '1.1', "$url/healthz" ], '>', \$said);
isnt($? >> 8, 0, 'with TLS: not an old version of it');
is((http($dashboard, 'GET', '/healthz') // { status => 'none' })->{status} =~ /^2/ ? 'served' : 'not served', 'not served', 'with TLS: nothing without it');
is(end_dashboard($dashboard), 0, 'with TLS: the program leaves as it was asked to');

$dashboard = start_dashboard({ env => { PGPASSWORD => 'alice', PGOPTIONS => '-c statement_timeout=1' } });
is(sign_in($dashboard, 'alice', '')->{answer}{status}, 400, 'a password in the environment is nobody\'s');
is(sign_in($dashboard, 'alice', 'x')->{answer}{status}, 401, 'and no right one');
is(sign_in($dashboard, 'alice')->{answer}{status}, 200, 'options in the environment are for the program alone');
is(end_dashboard($dashboard), 0, 'the program leaves again');

check_counters($node);
$node->stop;
done_testing();
