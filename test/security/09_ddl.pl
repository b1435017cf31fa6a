# Commands on databases, roles and the extension work as on a server without bgjob: at once, without deadlocks, and
# without FATAL or ERROR in the log.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use BgjobTest;

my $node = bgjob_cluster('ddl', 'bgjob.shutdown_timeout' => '15s', log_statement => 'none');
my $sleeper = q{SELECT bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')};
my $runs = q{SELECT processing = 1 FROM bgjob.stats};

# quickly SQL, WHAT, DATABASE tests that a command does not wait for running jobs.
sub quickly
{
	my ($sql, $what, $db) = @_;
	my $began = time;
	my ($status, undef, $err) = $node->psql($db // 'postgres', $sql);

	is($status, 0, $what) or diag($err);
	cmp_ok(time - $began, '<', 12, "$what: the command does not wait for running jobs");
}

# ---- databases that are created and dropped ----

for my $round (1 .. 4)
{
	$node->safe_psql('postgres', 'CREATE DATABASE x');
	$node->safe_psql('x', 'CREATE EXTENSION bgjob');
	$node->safe_psql('x', "CREATE ROLE r$round LOGIN; GRANT USAGE ON SCHEMA bgjob TO r$round; SET SESSION AUTHORIZATION r$round; $sleeper");
	wait_until($node, $runs, "a job runs ($round)", 30, 'x');
	if ($round == 2)
	{
		$node->safe_psql('postgres', 'ALTER DATABASE x RENAME TO y');
		$node->safe_psql('postgres', 'ALTER DATABASE y RENAME TO x');
		wait_until($node, $runs, 'it runs again after two renames', 30, 'x');
	}
	$node->safe_psql('x', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = current_database()}) if $round == 3;
	$node->safe_psql('x', "BEGIN; DROP EXTENSION bgjob; ROLLBACK") if $round == 4;
	quickly('DROP DATABASE x', "DROP DATABASE ($round)");
	$node->safe_psql('postgres', "DROP ROLE r$round");
}
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler'}, 'no process accesses the dropped database');

# Sessions that drop the same database at the same time: all but one say that it does not exist, and none hangs.
$node->safe_psql('postgres', 'CREATE DATABASE w');
$node->safe_psql('w', 'CREATE EXTENSION bgjob');
my $began = time;
my @sessions = map { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'DROP DATABASE IF EXISTS w' ], '>', \my $o, '2>', \my $e) } 1 .. 4;
eval { $_->finish } for @sessions;
cmp_ok(time - $began, '<', 20, 'sessions that drop the same database do not hang');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'w'}), 0, 'the database is dropped');

# ---- a role that is dropped while its jobs wait ----

$node->safe_psql('postgres', q{
	CREATE ROLE gone LOGIN; GRANT USAGE ON SCHEMA bgjob TO gone;
	SELECT bgjob_queue('later', paused => true);
	SET SESSION AUTHORIZATION gone;
	SELECT bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'later')});
$node->safe_psql('postgres', q{REVOKE ALL ON SCHEMA bgjob FROM gone; DROP ROLE gone; SELECT bgjob_queue_resume('later')});
wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE state = 'failed'}, 'the jobs of the dropped role fail');

# ---- DROP EXTENSION ----

my @ways = (
	[ 'DROP EXTENSION',             'CREATE EXTENSION bgjob',             'DROP EXTENSION bgjob' ],
	[ 'DROP SCHEMA … CASCADE',      'CREATE SCHEMA jobs; CREATE EXTENSION bgjob SCHEMA jobs; SET search_path = jobs', 'DROP SCHEMA jobs CASCADE' ],
	[ 'DROP OWNED BY … CASCADE',    'SET SESSION AUTHORIZATION boss; CREATE EXTENSION bgjob; RESET SESSION AUTHORIZATION', 'DROP OWNED BY boss CASCADE' ]);
$node->safe_psql('postgres', 'CREATE ROLE boss SUPERUSER LOGIN');
for my $way (@ways)
{
	my ($what, $create, $drop) = @$way;

	$node->safe_psql('postgres', 'CREATE DATABASE d');
	$node->safe_psql('d', "$create; $sleeper");
	wait_until($node, $runs, "$what: a job runs", 30, 'd');
	quickly($drop, $what, 'd');
	is($node->safe_psql('d', q{SELECT count(*) FROM pg_extension WHERE extname = 'bgjob'}), 0, "$what: the extension is dropped");
	quickly('DROP DATABASE d', "$what: the database can be dropped");
}
my $errors = join '', grep { / (?:FATAL|ERROR|PANIC): / && !/database "w" does not exist/ } split /^/, slurp_file($node->logfile);
is($errors, '', 'no line of FATAL or ERROR until here');

# Under load the clients get the error of a missing function, not an internal error.
$node->safe_psql('postgres', 'CREATE DATABASE d');
for my $round (1 .. 3)
{
	$node->safe_psql('d', 'CREATE EXTENSION bgjob');
	my @out = ('') x 3;
	my $file = $node->basedir . '/load.sql';
	append_to_file($file, join "\n", (q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql');}) x 2000) unless -f $file;
	my @load = map { IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('d'), '-f', $file ], '>', '/dev/null', '2>', \$out[$_]) } 0 .. 2;
	wait_until($node, q{SELECT count(*) > 100 FROM bgjob.jobs}, "load ($round)", 30, 'd');
	quickly('DROP EXTENSION bgjob', "DROP EXTENSION under load ($round)", 'd');
	$_->finish for @load;
	my %codes = map { $_ => 1 } map { /ERROR:  (\w{5}):/g } @out;
	delete @codes{qw(42704 42883 3F000 55000 40P01)};
	is(join(' ', keys %codes), '', "the clients meet no internal error ($round)");
}

check_counters($node);
$node->reload;
$node->restart;
$node->stop;
# A process that is terminated before it has connected logs what any background worker logs then; so does the session
# of a client that has just left.
my $log = slurp_file($node->logfile) =~ s/^.*FATAL:  terminating (?:background worker "bgjob scheduler"|connection) due to administrator command\n//mgr;
unlike($log, qr/ (?:FATAL|PANIC): |XX000|could not open relation/, 'no FATAL line, no internal error');
done_testing();
