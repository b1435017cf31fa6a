# The costs of a stretch of work: WAL, CPU, commits and buffer hits of the private server.
#
# CPU is that of the postmaster's whole family: the living processes from /proc, and those that have gone by the
# postmaster's own account of the children that it has reaped. Read in that order and again if a child ended meanwhile,
# so none is missed or counted twice. Statistics of the database count what our own sessions there did, too: their
# statements are subtracted from the commits.
package Bench::Meter;
use strict;
use warnings;
use POSIX qw(sysconf _SC_CLK_TCK);
use Time::HiRes qw(time sleep);

my $hertz = sysconf(_SC_CLK_TCK);

# process_cpu is the CPU time of a process in seconds: its own, and that of the children that it has reaped.
sub process_cpu
{
	my ($pid) = @_;
	my $fields = _stat($pid) or return (0, 0);

	return (($fields->[11] + $fields->[12]) / $hertz, ($fields->[13] + $fields->[14]) / $hertz);
}

# family_cpu is the CPU time in seconds of a process and everything that ever was a child of it.
sub family_cpu
{
	my ($pid) = @_;

	while (1)
	{
		my ($own, $reaped) = process_cpu($pid);
		my $sum = $own + $reaped;
		for my $child (children($pid))
		{
			my ($cpu, $below) = process_cpu($child);
			$sum += $cpu + $below;
		}
		return $sum if $reaped == (process_cpu($pid))[1];
	}
}

# children lists the processes whose parent is the one given.
sub children
{
	my ($parent) = @_;

	opendir my $proc, '/proc' or die "/proc: $!";
	return grep { (_stat($_) // [ 0, 0 ])->[1] == $parent } grep { /^\d+$/ } readdir $proc;
}

# begin starts metering a database: bench => the context, db => its name, client => pid of a client that counts.
sub begin
{
	my ($class, %opt) = @_;
	my $self = bless {%opt}, $class;

	$self->{bench}->flush_statistics($opt{db});
	$self->{statistics} = [ $self->_statistics ];
	$self->{own}        = $self->{bench}->statements($opt{db});
	$self->{wal}        = $self->_wal;
	$self->{client_cpu} = (process_cpu($opt{client}))[0] if $opt{client};
	$self->{cpu}        = family_cpu($self->{bench}->postmaster);
	$self->{began}      = time;
	return $self;
}

# stop marks the end of the work; later work does not count, except statistics that are reported late.
sub stop
{
	my ($self) = @_;

	$self->{took}       = time - $self->{began};
	$self->{cpu}        = family_cpu($self->{bench}->postmaster) - $self->{cpu};
	$self->{wal}        = $self->_wal - $self->{wal};
	$self->{client_cpu} = (process_cpu($self->{client}))[0] - $self->{client_cpu} if $self->{client};
}

# costs returns the figures per job, as metric => [ unit, value ]; once all processes have reported their statistics.
sub costs
{
	my ($self, $jobs) = @_;

	sleep 1.5;    # a session reports at most once a second
	$self->{bench}->flush_statistics($self->{db});
	my @now = $self->_statistics;
	my $own = $self->{bench}->statements($self->{db}) - $self->{own};
	return (
		wal     => [ 'B/job', $self->{wal} / $jobs ],
		cpu     => [ 's/1000 jobs', $self->{cpu} / $jobs * 1000 ],
		commits => [ '/job', ($now[0] - $self->{statistics}[0] - $own) / $jobs ],
		hits    => [ '/job', ($now[1] - $self->{statistics}[1]) / $jobs ],
		$self->{client} ? (client_cpu => [ 's/1000 jobs', $self->{client_cpu} / $jobs * 1000 ]) : ());
}

# _stat reads /proc/PID/stat from the state on (field 3); nothing if the process has ended.
sub _stat
{
	my ($pid) = @_;

	open my $file, '<', "/proc/$pid/stat" or return;
	my $line = <$file> // return;
	return [ split ' ', substr $line, rindex($line, ')') + 2 ];
}

sub _statistics
{
	my ($self) = @_;

	return $self->{bench}->admin->row(
		"SELECT xact_commit, blks_hit FROM pg_stat_database WHERE datname = '$self->{db}'");
}

sub _wal
{
	my ($self) = @_;

	return $self->{bench}->admin->value(q(SELECT pg_current_wal_insert_lsn() - '0/0'));
}

1;
