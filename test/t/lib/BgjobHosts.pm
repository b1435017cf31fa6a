# Several machines on one: hosts are network namespaces, connected by virtual Ethernet cables to a switch, which is a namespace, too. The test itself is on
# the host of the database. That needs no root: the test runs itself again in a user namespace of its own, where it may create all this.
# Where the system does not allow that (some containers), the file is skipped, with the reason.
#
#   use BgjobHosts;                   before PostgreSQL::Test
#   my $host = host('a');             a host; within($host) are the words before a command that run it there
#   unplug($host); plug_in($host);    takes its cable out of the switch, without a word to either side: packets are lost, connections half open
package BgjobHosts;
use strict;
use warnings;
use parent "Exporter";
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(host within unplug plug_in hosts_address hosts_network);

use constant NETWORK => '10.213.7';

my @unshare = qw(unshare --user --net --map-current-user --keep-caps);
my ($switch, %cable, @namespaces);

sub hosts_address { return NETWORK . '.1' }
sub hosts_network { return NETWORK . '.0/24' }

# A file that uses this module runs twice: outside, where it only asks whether it may, and inside.
sub import
{
	if (!$ENV{BGJOB_IN_NAMESPACE})
	{
		my $why = why_not_allowed();

		plan(skip_all => "no network namespaces here: $why") if $why ne '';
		$ENV{BGJOB_IN_NAMESPACE} = 1;
		$ENV{PERL5LIB} = join(':', @INC);
		exec @unshare, $^X, $0, @ARGV or die "unshare: $!";
	}
	delete $ENV{BGJOB_IN_NAMESPACE};
	$switch = namespace();
	run(within($switch), 'sh', '-c', 'ip link add bridge type bridge && ip link set bridge up');
	run(qw(ip link set lo up));
	connect_host($$, 'database', hosts_address());
	BgjobHosts->export_to_level(1, @_);
}

# why_not_allowed returns '' where it is.
sub why_not_allowed
{
	my $said = `@unshare sh -c 'ip link add bridge type bridge && ip link add cable type veth peer name other && unshare --net true' 2>&1`;

	return $? == 0 ? '' : $said =~ s/\s*\n.*//sr || "unshare: status $?";
}

sub run { system(@_) == 0 or die "@_: status $?" }

# namespace returns the process that keeps a new network namespace.
sub namespace
{
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null';
		exec qw(unshare --net sleep 100000) or die "unshare: $!";
	}
	push @namespaces, $pid;
	my $end = time + 30;
	usleep(5_000) until (readlink("/proc/$pid/ns/net") // '') ne readlink('/proc/self/ns/net') || time > $end;
	return $pid;
}

# host NAME returns a new host.
sub host
{
	my ($name) = @_;
	my $host = namespace();

	connect_host($host, $name, NETWORK . '.' . (2 + keys %cable));
	return $host;
}

sub connect_host
{
	my ($host, $name, $address) = @_;

	$cable{$host} = $name;
	run(within($switch), qw(ip link add), $name, qw(type veth peer name eth0 netns), $host);
	run(within($switch), qw(ip link set), $name, 'up');
	plug_in($host);
	run(within($host), 'sh', '-c', "ip link set lo up && ip addr add $address/24 dev eth0 && ip link set eth0 up");
}

sub within { return ('nsenter', '--target', $_[0], '--net', '--') }
sub unplug { run(within($switch), qw(ip link set), $cable{ $_[0] }, 'nomaster') }
sub plug_in { run(within($switch), qw(ip link set), $cable{ $_[0] }, qw(master bridge)) }

END
{
	my $status = $?;

	kill 'KILL', @namespaces;
	waitpid($_, 0) for @namespaces;
	$? = $status;
}

1;
