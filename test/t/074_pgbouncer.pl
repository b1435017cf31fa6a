# External workers through PgBouncer, in session and in transaction mode: they fetch, wait, send heartbeats and complete, and effects in the database happen
# exactly once. Where connections are pooled, the lease alone counts, and bgjob.servers says so. A worker that goes away has its jobs performed by others.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobClients;
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my ($pgbouncer) = grep { -x } qw(/usr/sbin/pgbouncer /usr/bin/pgbouncer);
plan(skip_all => "Debian's package pgbouncer is not to be had here") unless $pgbouncer;

my $node = bgjob_cluster('pooled');
clients_on($node);
my @languages = languages();

foreach my $mode (qw(session transaction))
{
	foreach my $language (@languages)
	{
		my $what = "$language, $mode mode";
		my $pool = pool($mode, $language);
		my $start = sub { start_client($language, "$language-$mode-$_[0]", servers => [$pool], lease => 2) };
		my @clients = map { $start->($_) } 1 .. 3;
		my $name = "name LIKE '$language-$mode-%'";

		my $many = value(q{SELECT array_agg(j) FROM bgjob_enqueue_many('effect', array_fill('{}'::jsonb, ARRAY[300]), kind => 'external') j});
		all_succeed("$what: jobs succeed", "id = ANY ('$many')");
		once_each("$what: with their effects once");
		cmp_ok(value("SELECT count(DISTINCT result ->> 'worker') FROM bgjob.jobs WHERE id = ANY ('$many')"), '>', 1, "$what: several workers share the jobs");
		if ($mode eq 'session')
		{
			is(value("SELECT string_agg(workers::text, ' ') FROM bgjob.servers WHERE $name"), '1 1 1', "$what: leases are bound to the sessions, as the view says");
		}
		else
		{
			# Which workers share a session is a matter of chance: they do sooner or later.
			shared($what, "SELECT count(*) = 3 FROM bgjob.servers WHERE $name AND workers = 0");
		}

		# Heartbeats keep a job for longer than its lease.
		my @waiting = map { effect_waits($what =~ s/\W/-/gr) } @clients;
		my $waiting = "id IN (@{[ join ',', @waiting ]})";
		wait_until($node, "SELECT count(*) = 3 AND min(clock_timestamp() - started_at) > '5 s' FROM bgjob.jobs WHERE $waiting AND state = 'processing'", "$what: jobs run for longer than their leases");
		is(value("SELECT sum(interruptions) FROM bgjob.jobs WHERE $waiting"), 0, "$what: heartbeats keep them");

		# A worker goes away.
		signal_client($clients[0], 'KILL');
		has_ended($clients[0]);
		appear($what =~ s/\W/-/gr);
		all_succeed("$what: the job of a worker that was killed is performed by another", $waiting);
		once_each("$what: with one effect each");
		is(value("SELECT string_agg(concat_ws(' ', retries, interruptions), ', ' ORDER BY interruptions) FROM bgjob.jobs WHERE $waiting"), '0 0, 0 0, 0 1', "$what: it was lost once, and no retry was used");
		end_client(@clients[ 1, 2 ]);
	}
}
check_counters($node);
done_testing();

# pool MODE, NAME starts a PgBouncer in that mode for the cluster, and returns its host and port. Its sessions are new: one that has served another worker
# does not bind leases.
sub pool
{
	my ($mode, $name) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $user = getpwuid($<);
	my $port = 6432;

	append_to_file("$dir/users", qq("$user" ""\n));
	append_to_file("$dir/pgbouncer.ini", <<"END");
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]} user=$user
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = $mode
server_round_robin = 1
pidfile = $dir/pid
END
	start_process("pgbouncer-$mode-$name", $pgbouncer, "$dir/pgbouncer.ini");
	my $end = time + 30;
	usleep(10_000) until -S "$dir/.s.PGSQL.$port" || time > $end;
	return [ $dir, $port ];
}

# shared WHAT, SQL enqueues jobs until the query returns true.
sub shared
{
	my ($what, $query) = @_;
	my $end = time + 60;

	until (value($query) eq 't' || time > $end)
	{
		my $some = value(q{SELECT array_agg(j) FROM bgjob_enqueue_many('effect', array_fill('{}'::jsonb, ARRAY[30]), kind => 'external') j});

		becomes_true($node, "SELECT bool_and(state = 'succeeded') FROM bgjob.jobs WHERE id = ANY ('$some')", 60, 'postgres');
	}
	is(value($query), 't', "$what: the sessions turn out to be pooled, so the lease alone counts") || diag(value("SELECT row_to_json(s) FROM bgjob.servers s"));
}
