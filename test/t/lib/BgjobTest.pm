# What the TAP tests share: a cluster with bgjob, and waiting for a condition instead of sleeping.
#
#   use FindBin;
#   use lib "$FindBin::RealBin/lib";
#   use BgjobTest;
package BgjobTest;
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(bgjob_cluster wait_until becomes_true set_and_reload);

# bgjob_cluster NAME, SETTING => VALUE… starts a cluster that preloads bgjob and has it in database
# postgres. A setting given replaces the one of the same name here.
sub bgjob_cluster
{
	my ($name, %conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
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

# becomes_true NODE, SQL, SECONDS, DATABASE polls until the query returns 't'. An error counts as "not
# yet": the server may be in recovery. Returns whether it did, and the last answer.
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

# wait_until NODE, SQL, WHAT [, SECONDS [, DATABASE]] is a test of that name.
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

1;
