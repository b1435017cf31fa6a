# Ordinary operation logs no WARNING, ERROR or FATAL: databases and roles that are created, dropped, renamed and copied in a
# loop, reloads and restarts while jobs run, terminated workers, schedulers that take turns. The log says once that a
# database is served, however often its scheduler restarts.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

# More databases than schedulers may have slots: they take turns.
my $node = bgjob_cluster('quiet', fsync => 'off', log_statement => 'none', max_worker_processes => 8, 'bgjob.shutdown_timeout' => '300ms');
my $sleeper = q{SELECT bgjob_enqueue('SELECT pg_sleep(600)', kind => 'sql')};

sub loud
{
	# A client's session may still be leaving when the server is shut down; and that slots are short is true here.
	return join '', grep { /\b(?:WARNING|ERROR|FATAL|PANIC):/ && !/ terminating connection due to administrator command|WARNING:  out of background worker slots/ }
		split /^/, slurp_file($node->logfile);
}

# Databases and roles, in a fast loop.
for my $round (1 .. 6)
{
	$node->safe_psql('postgres', "CREATE ROLE r$round LOGIN");
	$node->safe_psql('postgres', 'CREATE DATABASE a');
	$node->safe_psql('a', "CREATE EXTENSION bgjob; GRANT USAGE ON SCHEMA bgjob TO r$round; SET SESSION AUTHORIZATION r$round; $sleeper");
	wait_until($node, q{SELECT processing > 0 FROM bgjob.stats}, "a job runs ($round)", 30, 'a') if $round % 2;
	$node->safe_psql('postgres', 'ALTER DATABASE a RENAME TO b');
	$node->safe_psql('postgres', 'CREATE DATABASE c TEMPLATE b');
	$node->safe_psql('b', 'DROP EXTENSION bgjob') if $round == 2;
	$node->safe_psql('postgres', "DROP DATABASE $_") for 'b', 'c';
	$node->safe_psql('postgres', "DROP ROLE r$round");
}
# The log reports that c is a copy; the drop of the database with the jobs is not logged.
is(loud(), '', 'databases and roles that come and go');

# Schedulers that take turns.
my @databases = map { "d$_" } 1 .. 6;
for my $db (@databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION bgjob');
}
for my $round (1 .. 2)
{
	$node->safe_psql($_, q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')}) for @databases;
	wait_until($node, "SELECT count(*) = $round FROM bgjob.jobs WHERE state = 'succeeded'", "jobs of round $round in $_", 60, $_) for @databases;
}
my $log = slurp_file($node->logfile);
is((() = $log =~ /serves database "$_"/g), 1, "database $_ is announced once") for @databases;
is((() = $log =~ /no longer serves database "d\d"/g), 0, 'no message that a database is no longer served');
is(loud(), '', 'schedulers that take turns');

# Reloads, terminated processes, and restarts, while a job runs.
$node->safe_psql('postgres', $sleeper);
my $running = q{SELECT count(*) = 1 FROM bgjob.workers WHERE state = 'busy'};
wait_until($node, $running, 'a job runs');
for my $round (1 .. 5)
{
	set_and_reload($node, 'bgjob.retention' => $round . 'd');
}
$node->safe_psql('postgres', q{SELECT count(pg_terminate_backend(pid)) FROM bgjob.workers});
wait_until($node, q{SELECT bool_and(interruptions = 1 AND state = 'processing') FROM bgjob.jobs WHERE state <> 'succeeded'}, 'workers are terminated, and the job runs again');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});
wait_until($node, q{SELECT bool_and(interruptions = 2 AND state = 'processing') FROM bgjob.jobs WHERE state <> 'succeeded'}, 'the scheduler is terminated, and the jobs run again');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bgjob launcher'});
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'bgjob launcher'}, 'the launcher is restarted');
for my $mode ('fast', 'smart', 'fast')
{
	$node->stop($mode);
	$node->start;
	wait_until($node, $running, "the job runs after a $mode shutdown");
}
is(loud(), '', 'reloads, terminated processes and restarts');
check_counters($node);
$node->stop;
done_testing();
