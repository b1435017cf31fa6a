# Settings by ALTER DATABASE and ALTER ROLE do not change how bgjob works: neither the role of its processes nor its handling
# of errors.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('settings', 'bgjob.workers' => 2);
sub value { return $node->safe_psql($_[0], $_[1], extra_params => [ '-U', $_[2] // 'evil' ]) }

$node->safe_psql('postgres', $_) for split /\n/, <<'SQL';
CREATE ROLE evil LOGIN
CREATE ROLE app LOGIN
CREATE ROLE grp
GRANT grp TO app
CREATE DATABASE own OWNER evil
SQL
$node->safe_psql('own', 'CREATE EXTENSION bgjob; GRANT USAGE ON SCHEMA bgjob TO app, evil');

value('postgres', "ALTER DATABASE own SET $_") for (
	'exit_on_error = on', "role = 'evil'", "session_authorization = 'evil'", "search_path = 'evil, pg_temp'", 'statement_timeout = 1', 'lock_timeout = 1',
	'default_transaction_read_only = on', "default_transaction_isolation = 'serializable'", 'default_transaction_deferrable = on', 'row_security = off',
	"datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'", "timezone = 'Asia/Kathmandu'", "client_encoding = 'LATIN1'", 'enable_indexscan = off',
	'transform_null_equals = on', 'array_nulls = off');
$node->safe_psql('postgres', 'ALTER ROLE app SET exit_on_error = on');
$node->safe_psql('postgres', q{ALTER ROLE app SET role = 'grp'});

# The sessions of this test are above it: options of a connection go before those of a database or role.
$ENV{PGOPTIONS} = '-c exit_on_error=off -c role=none -c search_path=public -c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off '
	. '-c default_transaction_isolation=read\\ committed -c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c client_encoding=UTF8';

# A scheduler, and workers, that have started with these.
$node->restart;
my $scheduler = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'own'};
my $pid = pid_of($node, $scheduler);

my $job = value('own', qq{SELECT bgjob_enqueue('SELECT session_user, current_user', kind => 'sql', delay => '1 s');
	SELECT bgjob_recurring('r', '\@every_second', 'SELECT 1', kind => 'sql')}, 'app');
$job =~ s/\D//g;
wait_until($node, qq{SELECT count(*) = 2 FROM bgjob.jobs WHERE id = $job AND state = 'succeeded' OR id = (SELECT min(id) FROM bgjob.jobs WHERE recurring_name = 'r' AND state = 'succeeded')},
	'jobs that the scheduler puts in are performed', 30, 'own');
is($node->safe_psql('own', "SELECT result FROM bgjob.jobs WHERE id = $job"), '[{"current_user": "app", "session_user": "app"}]', 'the job runs as its role');

$job = value('own', qq{SELECT bgjob_recurring_remove('r'); SELECT bgjob_enqueue('SELECT 1/0', kind => 'sql', max_retries => 0)}, 'app');
$job =~ s/\D//g;
wait_until($node, "SELECT state = 'failed' FROM bgjob.jobs WHERE id = $job", 'a job fails', 30, 'own');
is($node->safe_psql('own', "SELECT reason, interruptions FROM bgjob.jobs WHERE id = $job"), 'division by zero|0', 'by its own error, which has not ended the worker');
is(pid_of($node, $scheduler), $pid, 'the scheduler is the same');

check_counters($node, 'own');
done_testing();
