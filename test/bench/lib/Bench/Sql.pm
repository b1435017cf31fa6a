# A connection to the private server: the simple-query protocol over its Unix socket, trust authentication.
#
# It is here instead of psql because measuring wants a client that adds next to nothing, that knows the instant of the
# answer, and whose own statements are counted (statements), to be subtracted from what the server counted.
# Every failure dies with the server's message.
package Bench::Sql;
use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM);

# new connects: socket => folder, db =>, user => (postgres).
sub new
{
	my ($class, %opt) = @_;
	my $self = bless { db => $opt{db}, statements => 0, buffer => '' }, $class;

	$self->{socket} = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$opt{socket}/.s.PGSQL.5432")
	  or die "cannot connect to the server in $opt{socket}: $!\n";
	my %parameters = (user => $opt{user} // 'postgres', database => $opt{db}, application_name => 'bench');
	my $body = pack('N', 196608) . join('', map { "$_\0" } %parameters) . "\0";
	$self->_write(pack('N', 4 + length $body) . $body);
	$self->finish;
	return $self;
}

# send starts statements without waiting for them.
sub send
{
	my ($self, $sql) = @_;

	utf8::encode($sql);
	$self->{statements}++;
	$self->_write('Q' . pack('N', 5 + length $sql) . "$sql\0");
}

# finish waits for what send has started and returns the result sets: lists of rows, which are lists of values.
sub finish
{
	my ($self) = @_;
	my (@sets, $error);

	while (1)
	{
		my ($type, $body) = $self->_message;
		if ($type eq 'T') { push @sets, [] }
		elsif ($type eq 'D') { push @{ $sets[-1] }, _row($body) }
		elsif ($type eq 'E') { $error //= _text($body) }
		elsif ($type eq 'N') { push @{ $self->{notices} }, _text($body) }
		elsif ($type eq 'Z') { last }
	}
	die "$error\n" if defined $error;
	return @sets;
}

# readable tells whether an answer has begun to come.
sub readable
{
	my ($self) = @_;

	return IO::Select->new($self->{socket})->can_read(0) ? 1 : 0;
}

# rows runs statements and returns the rows of the last one that has any.
sub rows
{
	my ($self, $sql) = @_;

	$self->send($sql);
	my @sets = $self->finish;
	return @sets ? @{ $sets[-1] } : ();
}

# row returns the first row's values.
sub row
{
	my ($self, $sql) = @_;
	my ($first) = $self->rows($sql);

	return $first ? @$first : ();
}

# value returns the first value, undef for null and for no row.
sub value
{
	my ($self, $sql) = @_;

	return ($self->row($sql))[0];
}

# close ends the session and waits until the server has closed it: its statistics have been reported then.
sub close
{
	my ($self) = @_;

	return unless $self->{socket};
	$self->_write('X' . pack('N', 4));
	1 while sysread $self->{socket}, my $rest, 4096;
	close delete $self->{socket};
}

sub _write
{
	my ($self, $bytes) = @_;

	local $SIG{PIPE} = 'IGNORE';
	while (length $bytes)
	{
		my $n = syswrite $self->{socket}, $bytes;
		die "the server has closed the connection: $!\n" unless $n;
		substr($bytes, 0, $n) = '';
	}
}

# _message reads one message: its type and body.
sub _message
{
	my ($self) = @_;

	$self->_need(5);
	my ($type, $length) = unpack 'aN', $self->{buffer};
	$self->_need($length + 1);
	my $body = substr $self->{buffer}, 5, $length - 4;
	substr($self->{buffer}, 0, $length + 1) = '';
	return ($type, $body);
}

sub _need
{
	my ($self, $bytes) = @_;

	while (length $self->{buffer} < $bytes)
	{
		sysread $self->{socket}, $self->{buffer}, 65536, length $self->{buffer}
		  or die "the server has closed the connection to $self->{db}\n";
	}
}

# _row takes a DataRow message apart.
sub _row
{
	my ($body) = @_;
	my ($n, $at, @values) = (unpack('n', $body), 2);

	for (1 .. $n)
	{
		my $length = unpack 'N', substr $body, $at, 4;
		$at += 4;
		if ($length == 0xffffffff) { push @values, undef; next }
		push @values, substr $body, $at, $length;
		$at += $length;
	}
	return \@values;
}

# _text is an error's or notice's severity, SQLSTATE, message and detail.
sub _text
{
	my ($body) = @_;
	my %field = map { /^(.)(.*)/s ? ($1 => $2) : () } split /\0/, $body;

	return join ' ', "$field{S} $field{C}:", $field{M}, map { "($_)" } grep { defined } @field{qw(D H W)};
}

1;
