# Functions shared by the TAP tests: they create a cluster with bgjob, wait for a condition instead of sleeping,
# and query a server that may be down for a moment. Each wait has a deadline in seconds.
#
#   use FindBin;
#   use lib "$FindBin::RealBin/lib";
#   use BgjobTest;
package BgjobTest;
use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(bgjob_cluster wait_until becomes_true set_and_reload ask pid_of until_gone start_again check_counters);

# bgjob_cluster NAME, SETTING => VALUE… starts a cluster that preloads bgjob, with the extension in database
# postgres. The given settings replace the defaults here. "allows_streaming => 1" is no setting: it makes a
# primary that standbys can follow.
sub bgjob_cluster
{
	my ($name, %conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(allows_streaming => delete $conf{allows_streaming} // 0);
	%conf = (
		shared_preload_libraries  => 'bgjob',
		max_worker_processes      => 32,
		max_prepared_transactions => 5,
		autovacuum                => 'off',
		%conf);
	$node->append_conf('postgresql.conf', "$_ = '$conf{$_}'") for sort keys %conf;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION bgjob');
	return $node;
}

# becomes_true NODE, SQL, SECONDS, DATABASE polls until the query returns 't'. After an error it retries, since
# the server may be in recovery. Returns whether the query returned 't', and the last answer.
sub becomes_true
{
	my ($node, $sql, $seconds, $db) = @_;
	my $end = time + $seconds;
	my ($out, $err) = ('', '');

	while (1)
	{
		$out = $err = '';
		eval {
			$node->psql($db, $sql, stdout => \$out, stderr => \$err, on_error_stop => 0, timeout => 30);
			1;
		} or $err = $@;
		return (1, $out) if defined $out && $out eq 't';
		return (0, ($out // '') . ($err // '')) if time > $end;
		usleep(50_000);
	}
}

# wait_until NODE, SQL, WHAT [, SECONDS [, DATABASE]] tests that the query returns 't' in time.
sub wait_until
{
	my ($node, $sql, $what, $seconds, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($true, $last) = becomes_true($node, $sql, $seconds // 60, $db // 'postgres');

	ok($true, $what) or diag("still not true: $sql\nlast answer: $last");
	return $true;
}

# set_and_reload NODE, SETTING => VALUE… changes the cluster's configuration while it runs.
sub set_and_reload
{
	my ($node, %conf) = @_;

	$node->append_conf('postgresql.conf', "$_ = '$conf{$_}'") for sort keys %conf;
	$node->reload;
}

# ask NODE, SQL repeats a query until the server answers it, for two minutes, and returns the answer. If the server
# is lost before it has answered, a query may take effect twice.
sub ask
{
	my ($node, $query) = @_;
	my $until = time + 120;

	while (time < $until)
	{
		# psql may be gone before it has read the query.
		my ($status, $out) = eval { $node->psql('postgres', $query, on_error_stop => 1, timeout => 60) };
		return $out if defined $status && $status == 0;
		usleep(20_000);
	}
	die "no answer: $query";
}

# pid_of NODE, SQL waits until the query returns a pid, and returns it.
sub pid_of
{
	my ($node, $query) = @_;
	my $until = time + 120;

	while (time < $until)
	{
		my $pid = ask($node, $query);
		return $pid if $pid =~ /^\d+$/;
		usleep(2_000);
	}
	die "no process: $query";
}

# until_gone PID waits until the process has exited, at most a minute.
sub until_gone
{
	my ($pid) = @_;
	my $until = time + 60;

	usleep(2_000) while kill(0, $pid) && time < $until;
}

# start_again NODE starts a server that was killed, and retries while processes of the old one hold its shared
# memory.
sub start_again
{
	my ($node) = @_;
	my $until = time + 60;

	until ($node->start(fail_ok => 1) || time > $until)
	{
		$node->{_pid} = undef;
		usleep(200_000);
	}
}

# check_counters NODE [, DATABASE] tests that bgjob's counts and side tables agree with bgjob_internal.job after running
# work has ended (test/pgtap/lib/counters.sql). Every file ends with it, for each database with jobs. The server must be
# a running primary.
sub check_counters
{
	my ($node, $db) = @_;
	my $check = slurp_file(dirname(__FILE__) . '/../../pgtap/lib/counters.sql') . ';SELECT pg_temp.tap_differences() LIMIT 20';
	my $end = time + 20;
	my ($status, $out, $err);

	$db //= 'postgres';
	while (1)
	{
		($out, $err) = ('', '');
		$status = $node->psql($db, $check, stdout => \$out, stderr => \$err, timeout => 60);
		last if $status == 0 && $out eq '' || time > $end;
		usleep(50_000);
	}
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($status == 0 && $out eq '', "the counters of database $db agree with the tables") || diag("$out\n$err");
}

1;
