# bgjob.job_timeout is a limit that an ordinary role cannot exceed; administrators may.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('time_limit', 'bgjob.workers' => 16);
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE admin LOGIN; CREATE ROLE slow LOGIN;
	CREATE ROLE keeper; GRANT keeper TO admin; ALTER SCHEMA bgjob OWNER TO keeper;
	GRANT USAGE ON SCHEMA bgjob TO app, slow, keeper; GRANT app TO admin;
	ALTER ROLE slow SET bgjob.job_timeout = '1h';
	CREATE FUNCTION nap() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(1.2)';
	CREATE FUNCTION trapping() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.2); END';
	CREATE TABLE t (i int);
	SELECT bgjob_configure('trapping', timeout => '1 hour'), bgjob_queue('groups', group_size => 10)});

sub as { my ($role, $sql) = @_; return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql") }

# A job that waits is bound, too: the setting comes after it.
my $waits = as('app', q{SELECT bgjob_enqueue('nap', timeout => '0', max_retries => 0, delay => '1 s')});
set_and_reload($node, 'bgjob.job_timeout' => '300ms');
wait_until($node, q{SELECT current_setting('bgjob.job_timeout') = '300ms'}, 'a limit for all');
my $sleep = q{'SELECT pg_sleep(1.2)', kind => 'sql', max_retries => 0};
my %bound = (
	'waiting since before' => $waits,
	'without a timeout' => as('app', "SELECT bgjob_enqueue($sleep)"),
	'timeout 0' => as('app', "SELECT bgjob_enqueue($sleep, timeout => '0')"),
	'timeout of an hour' => as('app', "SELECT bgjob_enqueue($sleep, timeout => '1 hour')"),
	'bgjob_enqueue_many' => as('app', q{SELECT bgjob_enqueue_many('nap', '{NULL}', timeout => '1 hour', max_retries => 0)}),
	'configured' => as('app', q{SELECT bgjob_enqueue('trapping', max_retries => 0)}),
	'in a group' => as('app', q{SELECT bgjob_enqueue('nap', queue => 'groups', timeout => '0', max_retries => 0)}));
as('app', q{SELECT bgjob_recurring('r', '@yearly', 'nap', timeout => '0', max_retries => 0)});
$bound{'of a recurring job'} = as('app', q{SELECT bgjob_recurring_trigger('r')});
my %free = (
	'of a superuser' => as('postgres', "SELECT bgjob_enqueue($sleep, timeout => '0')"),
	'of an administrator' => as('admin', "SELECT bgjob_enqueue($sleep, timeout => '1 hour')"),
	'that an administrator has enqueued' => as('admin', "SELECT bgjob_enqueue($sleep, timeout => '0', run_as => 'app')"),
	'of a role with another limit' => as('slow', "SELECT bgjob_enqueue($sleep, timeout => '0')"));
my $short = as('app', q{SELECT bgjob_enqueue('SELECT pg_sleep(60)', kind => 'sql', max_retries => 0, timeout => '100 ms')});
my $admins_default = as('admin', "SELECT bgjob_enqueue($sleep)");

sub error_of { my ($id) = @_; return $node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s'); SELECT error ->> 'message' FROM bgjob.jobs WHERE id = $id") }
is(error_of($bound{$_}), "failed\ncanceling job due to its timeout of 300 ms", "a job of an ordinary role $_") for sort keys %bound;
is(error_of($free{$_}), "succeeded\n", "a job $_ exceeds it") for sort keys %free;
is(error_of($short), "failed\ncanceling job due to its timeout of 100 ms", 'less than the limit is possible');
is(error_of($admins_default), "failed\ncanceling job due to its timeout of 300 ms", 'an administrator who says nothing has it as well');
$node->stop;
done_testing();
