# The clients of the protocol in doc/examples/clients, in each language: what they do in the transaction that completes a job happens exactly
# once, whatever ends: the work, the worker, its connection, or the server. And the handlers of doc/examples/handlers.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobClients;
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('clients', 'bgjob.max_retries' => 3);
clients_on($node);
my @languages = languages();

foreach my $language (@languages)
{
	my @clients = map { start_client($language, "$language-$_") } 1 .. 3;

	# Many jobs, shared by all.
	value(q{SELECT count(*) FROM bgjob_enqueue_many('effect', (SELECT array_agg(jsonb_build_object('n', i)) FROM generate_series(1, 300) i), kind => 'external')});
	all_succeed("$language: many jobs succeed", q(job = 'effect'));
	once_each("$language: each has its effect once");
	is(value(q(SELECT count(*) FROM bgjob.jobs WHERE job = 'effect' AND (result ->> 'n') IS DISTINCT FROM (args ->> 'n'))), 0, "$language: the results are kept");

	# Failures.
	my $broken = enqueue('broken', '{}');
	becomes($broken, q(state = 'scheduled' AND retries = 1), "$language: a job that fails is retried");
	is(value("SELECT error ->> 'message' FROM bgjob.jobs WHERE id = $broken"), 'it is broken', "$language: its error is the message of the exception");
	like(value("SELECT error ->> 'context' FROM bgjob.jobs WHERE id = $broken"), qr/client_jobs/, "$language: and its context the stack");
	my $final = enqueue('broken', '{"final": true}');
	becomes($final, q(state = 'failed' AND retries = 0), "$language: a job that cannot succeed fails at once");
	my $clash = enqueue('clash', '{}', 'max_retries => 0');
	becomes($clash, q(state = 'failed'), "$language: a job fails by an error in the transaction that completes it");
	is(value("SELECT error ->> 'sqlstate' FROM bgjob.jobs WHERE id = $clash"), '22012', "$language: its error has the SQLSTATE");
	is(value("SELECT count(*) FROM effect WHERE job = $clash"), 0, "$language: it has no effect");
	my $unknown = enqueue('unknown', '{}');
	becomes($unknown, q(state = 'scheduled' AND retries = 0 AND error IS NULL), "$language: a job that the worker does not know is given back");

	# A job that somebody deletes; one that is out of time.
	my $deleted = effect_waits('never');
	becomes($deleted, q(state = 'processing'), "$language: a job waits");
	value("SELECT bgjob_delete($deleted)");
	becomes($deleted, q(state = 'deleted'), "$language: it is deleted");
	my $late = effect_waits('never', q(timeout => '1 s', max_retries => 0));
	becomes($late, q(state = 'failed' AND error ->> 'sqlstate' = '57014'), "$language: a job fails that is out of time");
	end_client(@clients);

	# Leases that are short.
	@clients = map { start_client($language, "$language-$_", lease => 1) } 1 .. 3;
	my @waiting = map { effect_waits("$language-waited") } @clients;
	wait_until($node, qq{SELECT count(*) = 3 AND min(clock_timestamp() - started_at) > '3.5 s' FROM bgjob.jobs WHERE id IN (@{[ join ',', @waiting ]}) AND state = 'processing'},
		"$language: jobs run for longer than their leases");
	is(value(qq{SELECT sum(interruptions) FROM bgjob.jobs WHERE id IN (@{[ join ',', @waiting ]})}), 0, "$language: heartbeats keep these");

	# These work again, whose job is deleted while all are busy.
	value("SELECT bgjob_delete($waiting[0])");
	my $next = effect_waits("$language-next");
	becomes($next, q(state = 'processing'), "$language: a worker whose job was deleted takes another");

	# SIGTERM gives a job back; so does SIGKILL, by the end of the connection, and pg_terminate_backend().
	my ($holder) = grep { $_->{name} eq value("SELECT server FROM bgjob.jobs WHERE id = $next") } @clients;
	my @others = grep { $_ != $holder } @clients;
	end_client($holder);
	is(value("SELECT concat_ws(' ', state, retries, interruptions, (SELECT count(*) FROM effect WHERE job = $next)) FROM bgjob.jobs WHERE id = $next"), 'enqueued 0 1 0',
		"$language: a worker that ends gives its job back, without a retry");
	my ($killed, $cut) = @others;
	signal_client($killed, 'KILL');
	has_ended($killed);
	my $long = start_client($language, "$language-4", lease => 600);
	wait_until($node, qq{SELECT count(*) = 2 FROM bgjob.jobs WHERE id IN (@waiting[1, 2]) AND state = 'processing' AND server IN ('$language-4', '$cut->{name}')} =~ s/(\d) (\d)/$1, $2/r,
		"$language: the job of a worker that was killed is performed by another");
	value("SELECT pg_terminate_backend(worker_pid) FROM bgjob.jobs WHERE state = 'processing' AND server = '$language-4'");
	appear("$language-waited", "$language-next");
	all_succeed("$language: all are performed in the end", q(job = 'effect' AND state <> 'deleted' AND args ->> 'file' NOT LIKE '%never'));
	once_each("$language: with one effect each");

	# A restart of the server.
	value(q{SELECT count(*) FROM bgjob_enqueue_many('effect', array_fill('{}'::jsonb, ARRAY[500]), kind => 'external')});
	wait_until($node, q(SELECT count(*) > 20 FROM bgjob.jobs WHERE job = 'effect' AND state = 'succeeded' AND args = '{}'), "$language: jobs succeed");
	$node->restart;
	all_succeed("$language: all jobs succeed after a restart of the server", q(job = 'effect' AND args = '{}'));
	once_each("$language: with one effect each");
	end_client($cut, $long);
	value(q(SELECT bgjob_purge(s) FROM unnest('{succeeded,failed,deleted}'::text[]) s; TRUNCATE effect; SELECT bgjob_delete(id) FROM bgjob.jobs));
}

# The files are as short as the issue says.
foreach my $file (glob("$FindBin::RealBin/../../doc/examples/clients/*"))
{
	my @lines = split /\n/, slurp_file($file);
	cmp_ok(scalar @lines, '<', 100, "$file has less than 100 lines");
}
check_counters($node);
done_testing();
