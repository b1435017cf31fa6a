# The dashboard in a real browser: headless Chromium shows the database that test/dashboard/seed.sql makes. The tests are in Python, in
# test/browser (run.py says what they cover); this file starts what they need, and repeats what they say.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobDashboard;
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $top     = "$FindBin::RealBin/../..";
my $browser = "$top/test/browser";

my @missing = grep { !-x $_ } '/usr/bin/chromium', '/usr/bin/chromedriver', '/usr/bin/python3';
plan skip_all => "missing: @missing" if @missing;
plan skip_all => 'Python has no selenium or no psycopg' if system('/usr/bin/python3', '-c', 'import selenium, psycopg') != 0;

is(system("cd '$browser/vendor' && sha256sum --check --strict --quiet SHA256SUMS") >> 8, 0, 'axe-core is the recorded one');

my $node = bgjob_cluster('browser');
dashboard_on($node);
$node->safe_psql('postgres', 'CREATE DATABASE shop');
is($node->psql('shop', undef, extra_params => [ '-q', '-f', "$top/test/dashboard/seed.sql" ]), 0, 'the database is made');
$node->safe_psql('shop', 'GRANT users TO app, reporting, admin');
is($node->safe_psql('shop', q(SELECT string_agg(state, ' ' ORDER BY state) FROM (SELECT DISTINCT state FROM bgjob.jobs) s)),
	'awaiting deleted enqueued failed processing scheduled succeeded', 'it has jobs in every state');

my $home      = PostgreSQL::Test::Utils::tempdir();
my $dashboard = start_dashboard('-d', $node->connstr('shop'), '--title', 'Web shop');
my $showing   = start_dashboard('-d', $node->connstr('shop'), '--read-only', '--hide-arguments', '--base-path', '/jobs');
my %variables = (
	BROWSER_URL      => "http://127.0.0.1:$dashboard->{port}",
	BROWSER_URL_MODES => "http://127.0.0.1:$showing->{port}",
	BROWSER_DATABASE => $node->connstr('shop') . ' user=' . $node->safe_psql('shop', 'SELECT current_user'),
	BROWSER_HOME     => $home,
	BROWSER_TREE     => $top,
	HOME             => $home,
	XDG_CONFIG_HOME  => $home,
	XDG_CACHE_HOME   => $home,
	XDG_RUNTIME_DIR  => $home,
	PYTHONDONTWRITEBYTECODE => 1,
	map({ defined $ENV{$_} ? ($_ => $ENV{$_}) : () } qw(PATH LANG BROWSER_PARTS)));

# The tests are a process group of their own, which goes as a whole if they hang.
my $pid = open(my $tests, '-|') // die $!;
if ($pid == 0)
{
	setpgrp;
	%ENV = %variables;
	open STDERR, '>&', \*STDOUT or die $!;
	exec '/usr/bin/python3', "$browser/run.py", split ' ', $ENV{BROWSER_PARTS} // '' or die $!;
}
my ($planned, $ran, $late) = (-1, 0, 0);
local $SIG{ALRM} = sub { $late = 1; kill 'KILL', -$pid };
alarm 500;
my $passed = 1;
while (my $line = <$tests>)
{
	chomp $line;
	if ($line =~ /^(not )?ok \d+ - (.*)/)
	{
		$ran++;
		$passed = !$1;
		ok($passed, $2);
	}
	elsif ($line =~ /^1\.\.(\d+)$/) { $planned = $1 }
	elsif ($passed) { note($line) }
	else { diag($line) }
}
alarm 0;
ok(!$late, 'the tests end in time');
close $tests;
is($planned, $ran, 'they have run to their end');
kill 'KILL', -$pid;

ok(is_up($dashboard), 'the program is still up') || diag(logged($dashboard));
is(end_dashboard($dashboard), 0, 'it ends');
is(end_dashboard($showing), 0, 'the other one ends, too');
unlike(logged($dashboard), qr/\] (?:ERROR|FATAL|PANIC):/, 'it has logged no error of its own');
is($node->safe_psql('shop', q(SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'bgjob-dashboard%')), 0, 'no connection of it is left');

done_testing();
