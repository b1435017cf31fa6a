# A member of a role may see and control its jobs, and run jobs as it, by the server's rules of membership (finer since version 16).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('membership');
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');
$node->safe_psql('postgres', q{
	CREATE ROLE boss LOGIN;
	CREATE ROLE heir LOGIN;
	CREATE ROLE stranger LOGIN;
	CREATE ROLE proud LOGIN NOINHERIT;
	GRANT boss TO heir, proud;
	GRANT USAGE ON SCHEMA bgjob TO boss, heir, stranger, proud;
	CREATE FUNCTION nothing() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
});
my $job = $node->safe_psql('postgres', q{SET ROLE boss; SELECT bgjob_enqueue('nothing', delay => '1 hour')});

sub as { my ($role, $query) = @_; my ($out, $err) = ('', ''); $node->psql('postgres', "\\set VERBOSITY verbose\nSET ROLE $role; $query", stdout => \$out, stderr => \$err, on_error_stop => 0); return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out; }
my $see = "SELECT count(*) FROM bgjob.jobs WHERE id = $job";
my $control = "SELECT bgjob_reschedule($job, delay => '2 hours')";
my $run_as = q{SELECT bgjob_enqueue('nothing', run_as => 'boss') > 0};

is(as('heir', $see), '1', 'a member sees');
is(as('heir', $control), 't', 'controls');
is(as('heir', $run_as), 't', 'a member runs jobs as the role');
is(as('stranger', $see), '0', 'a stranger does not see');
is(as('stranger', $control), '42501', 'another role does not control the job');
is(as('stranger', $run_as), '42501', 'another role cannot run jobs as the role');
is(as('proud', $see), '0', 'a member that does not inherit does not see');
is(as('proud', $control), '42501', 'a member that does not inherit does not control the job');
is(as('proud', $run_as), 't', 'a member that does not inherit may run jobs as the role, since it may SET ROLE');
if ($version >= 160000)
{
	$node->safe_psql('postgres', q{CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA bgjob TO reader; GRANT boss TO reader WITH SET FALSE, INHERIT TRUE});
	is(as('reader', $see), '1', 'a member that inherits, but may not SET ROLE, sees');
	is(as('reader', $run_as), '42501', 'a member without SET ROLE cannot run jobs as the role');
}
check_counters($node);
$node->stop;
done_testing();
