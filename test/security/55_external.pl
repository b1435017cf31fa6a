# External workers: a role is given only jobs that it controls, and ends only attempts of workers that it controls, whatever name it calls itself.
# It learns nothing of others' jobs, and leaves no trace in them. Filters run as their owners. Rights that are taken away count at once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('external', fsync => 'off');
sub value { return $node->safe_psql('postgres', $_[0]) }

# reply ROLE, SQL returns the answer in a session of that role whose leases are not bound to it, or the SQLSTATE of the error.
sub reply
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY sqlstate\nSET bgjob.bind_leases = off;\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 0, extra_params => [ '-U', $role ]);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out;
}
sub fetch { return "SELECT string_agg(id::text, ' ') FROM bgjob_fetch('{*}', '$_[0]', 10)" }

value(q{CREATE ROLE app_a LOGIN; CREATE ROLE app_b LOGIN; CREATE ROLE boss LOGIN; GRANT app_a TO boss; CREATE ROLE admin LOGIN SUPERUSER;
	CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor; CREATE ROLE stranger LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app_a, app_b, boss; GRANT CREATE ON SCHEMA public TO app_a, app_b});
sub new_job { return reply($_[0], q{SELECT bgjob_enqueue('work', '{"secret": 1}', kind => 'external')}) }

#
# Fetching.
#
my $job = new_job('app_a');
is(reply('app_b', fetch('w')), '', 'a role is not given the job of another one');
is(reply('stranger', fetch('w')), '42501', 'a role without USAGE cannot call');
is(reply('monitor', fetch('w')), '42501', 'nor can a member of pg_monitor');
is(reply('app_a', fetch('w')), $job, 'its own role is given the job');
is(reply('app_b', "SELECT bgjob_enqueue('work', kind => 'external', run_as => 'app_a')"), '42501', 'a role cannot enqueue for another one');

#
# Ending.
#
for my $call ("bgjob_complete($job, 'w', '1')", "bgjob_fail($job, 'w', 'no')", "bgjob_release($job, 'w')")
{
	is(reply('app_b', "SELECT $call"), 'f', "another role that takes the name of the worker cannot: $call");
	is(reply('stranger', "SELECT $call"), '42501', "nor can one without USAGE: $call");
}
is(reply('app_b', "SELECT bgjob_external_deadline($job, 'w')"), '', 'it learns no deadline');
is(reply('app_b', "SELECT bgjob_complete($job + 1000, 'w') = bgjob_complete($job, 'w')"), 't', 'nor whether there is such a job');
is(reply('app_b', "SELECT bgjob_delete($job)"), '42501', 'nor can it delete the job');
is(value("SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $job"), 'enqueued processing', 'all that has left no trace');
is(reply('app_b', 'SELECT count(*) FROM bgjob.jobs'), '0', 'it does not see the job');
is(reply('boss', "SELECT bgjob_complete($job, 'w', '1')"), 't', 'a member of the role can');

$job = new_job('app_a');
is(reply('boss', fetch('w')), $job, 'a member of the role is given the job');
is(reply('app_a', "SELECT bgjob_complete($job, 'w')"), 'f', 'the role itself has not fetched it, and cannot complete it');
is(reply('app_a', "SELECT state FROM bgjob.jobs WHERE id = $job"), 'processing', 'but it sees the job');
value('REVOKE app_a FROM boss');
is(reply('boss', "SELECT bgjob_complete($job, 'w')"), 'f', 'a worker that has lost the role cannot complete its job');
value('GRANT app_a TO boss');
is(reply('boss', "SELECT bgjob_complete($job, 'w')"), 't', 'before it has the role again');
value('REVOKE app_a FROM boss');
$job = new_job('app_a');
is(reply('boss', fetch('w')), '', 'and is given no other');
is(reply('boss', "GRANT app_a TO boss"), '42501', 'it cannot give itself the role');

#
# Rights that change within a session.
#
is($node->safe_psql('postgres', join(';', 'SET bgjob.bind_leases = off', 'GRANT app_a TO boss', 'SET ROLE boss', 'BEGIN', fetch('w'), 'ROLLBACK', 'RESET ROLE', 'REVOKE app_a FROM boss', 'SET ROLE boss', fetch('w'))),
	"$job\n", 'a session whose role loses a membership is given nothing more');
is($node->safe_psql('postgres', join(';', 'SET ROLE app_b', fetch('w'), 'SET ROLE app_a', 'BEGIN', fetch('w'), 'ROLLBACK', 'SET ROLE app_b', fetch('w'))),
	"\n$job\n", 'one that changes its role is given what the role at hand may have');
value(q{CREATE FUNCTION fetch_as_a() RETURNS SETOF bigint LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$ SELECT id FROM bgjob_fetch('{*}', 'definer') $$;
	ALTER FUNCTION fetch_as_a() OWNER TO app_a; REVOKE EXECUTE ON FUNCTION fetch_as_a() FROM PUBLIC; GRANT EXECUTE ON FUNCTION fetch_as_a() TO app_b});
is(reply('app_b', 'SELECT fetch_as_a()'), $job, 'a function that its owner has made for that gives the job');
is(reply('app_b', "SELECT bgjob_complete($job, 'definer')"), 'f', 'which its caller cannot complete');
is(reply('app_a', "SELECT bgjob_complete($job, 'definer')"), 't', 'but its owner can');

#
# Filters.
#
value(q{CREATE TABLE seen (event text, who name, secret jsonb); CREATE FUNCTION note(context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.seen VALUES (context ->> 'event', current_user, context -> 'args');
		RETURN NULL;
	END$$;
	SELECT bgjob_filter('note_' || e, e, 'note') FROM unnest('{performing,performed}'::text[]) e});
$job = new_job('app_a');
is(reply('app_a', fetch('w')), $job, 'a job with filters is fetched');
is(reply('app_a', "SELECT bgjob_complete($job, 'w')"), 't', 'and completed');
is(value(q{SELECT string_agg(event || ' ' || who, ', ' ORDER BY event) FROM seen}), 'performed postgres, performing postgres', 'its filters run as their owner');
is(reply('app_a', 'SELECT count(*) FROM seen'), '42501', 'whose table the role cannot read');
value(q{SELECT bgjob_filter_remove('note_' || e) FROM unnest('{performing,performed}'::text[]) e});

#
# The tables, the settings of a whole server, hostile sessions.
#
for my $sql ('SELECT * FROM bgjob_internal.lease', 'DELETE FROM bgjob_internal.lease', q{INSERT INTO bgjob_internal.lease VALUES (1, 'app_a', 1, 0, false, now(), 'w')})
{
	is(reply('app_a', $sql), '42501', "no role has any right to the table: $sql");
}
is(reply('app_a', 'SET bgjob.max_leases = 10'), '55P02', 'the number of leases cannot be set by a role');
$job = new_job('app_a');
value(q{CREATE SCHEMA evil AUTHORIZATION app_b; GRANT ALL ON SCHEMA evil TO PUBLIC});
reply('app_b', q{CREATE FUNCTION evil.has_privs(name, name) RETURNS bool LANGUAGE sql AS 'SELECT true'; CREATE TYPE evil.jsonb AS (a int)});
is(reply('app_b', 'SET search_path = evil, public, pg_catalog; ' . fetch('w')), '', 'a search_path changes nothing');
is(reply('app_b', 'SET session_replication_role = replica; ' . fetch('w')), '42501', 'nor can a role set what only a superuser may');
is(reply('admin', fetch('w')), $job, 'an administrator is given the jobs of all');
is(reply('admin', "SELECT bgjob_complete($job, 'w')"), 't', 'and completes them');

# A role that no longer may have a job run as another one: the job fails.
value('GRANT app_a TO app_b');
$job = reply('app_b', q{SELECT bgjob_enqueue('work', kind => 'external', run_as => 'app_a', max_retries => 0)});
value('REVOKE app_a FROM app_b');
is(reply('app_a', fetch('w')), '', 'a job whose role has been taken from the one that enqueued it is not given');
is(value("SELECT state || ' ' || (error ->> 'sqlstate') FROM bgjob.jobs WHERE id = $job"), 'failed 42501', 'it has failed');

# The jobs of a role that is dropped.
value('CREATE ROLE gone LOGIN; GRANT USAGE ON SCHEMA bgjob TO gone');
$job = new_job('gone');
value('DROP OWNED BY gone; DROP ROLE gone');
wait_until($node, "SELECT state = 'failed' FROM bgjob.jobs WHERE id = $job", 'the job of a role that is dropped fails', 60);

check_counters($node);
done_testing();
