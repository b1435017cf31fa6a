# Functions shared by the tests of bgjob-dashboard: they start it, sign in, and speak HTTP with it over plain sockets, so that a
# test decides about each byte.
#
#   my $node = bgjob_cluster('name');
#   dashboard_on($node);                                   roles of group "users" have to give a password from now on
#   user('alice', 'GRANT app TO alice');                   a role with its name as password
#   my $dashboard = start_dashboard('--title', 'x');
#   my $session = sign_in($dashboard, 'alice');
#   my $answer = api($session, 'GET', 'd/postgres/jobs');  {status, headers, body, json}
#
# The program's log is in a file, of which logged() returns the text.
package BgjobDashboard;
use strict;
use warnings;
use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use PostgreSQL::Test::Utils qw(slurp_file);
use Socket qw(SHUT_WR);
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(dashboard_on user start_dashboard end_dashboard is_up logged last_logged connection request read_answer http api sign_in until_true memory_of
  sockets_of viewer next_event);

my ($node, $folder, $number);

# dashboard_on NODE has the server ask the members of role "users" for their passwords.
sub dashboard_on
{
	($node) = @_;
	$folder = PostgreSQL::Test::Utils::tempdir();
	$number = 0;
	my $hba = $node->data_dir . '/pg_hba.conf';
	my $before = slurp_file($hba);

	open my $file, '>', $hba or die $!;
	print $file "local all +users scram-sha-256\n$before";
	close $file or die $!;
	$node->reload;
	$node->safe_psql('postgres', 'CREATE ROLE users; GRANT USAGE ON SCHEMA bgjob TO users');
}

# user NAME, SQL… makes a role that signs in with its name as password.
sub user
{
	my ($name, @sql) = @_;

	$node->safe_psql('postgres', join ';', "CREATE ROLE $name LOGIN PASSWORD '$name' IN ROLE users", @sql);
}

# start_dashboard OPTION… starts the program at a free port and waits until it listens. The first argument may be a hash: the
# program to start instead of bgjob-dashboard (with its arguments), environment variables, and for how long to wait.
sub start_dashboard
{
	my $how = ref $_[0] ? shift : {};
	my @options = @_;
	my %dashboard = (log => "$folder/dashboard" . ++$number . '.log', base => '');
	my @database = grep({ $_ eq '-d' } @options) ? () : ('-d', $node->connstr('postgres'));
	my @command = (@{ $how->{program} // ['bgjob-dashboard'] }, '--listen', '127.0.0.1:0', '--log-level', 'debug', @database, @options);

	for my $i (0 .. $#options) { $dashboard{base} = $options[ $i + 1 ] if $options[$i] eq '--base-path' }
	$dashboard{pid} = fork // die $!;
	if ($dashboard{pid} == 0)
	{
		%ENV = (%ENV, %{ $how->{env} // {} });
		open STDERR, '>', $dashboard{log} or die $!;
		open STDIN, '<', '/dev/null' or die $!;
		open STDOUT, '>&', \*STDERR or die $!;
		exec @command or die "$command[0]: $!";
	}
	until_true(sub {
		($dashboard{port}) = logged(\%dashboard) =~ /listening at 127\.0\.0\.1, port (\d+)/;
		return defined $dashboard{port} || !is_up(\%dashboard);
	}, $how->{seconds} // 60) or diag(last_logged(\%dashboard));
	return \%dashboard;
}

# is_up DASHBOARD returns whether the program runs; notes its exit code when it has ended.
sub is_up
{
	my ($dashboard) = @_;

	return 0 if defined $dashboard->{code};
	return 1 if waitpid($dashboard->{pid}, 1) != $dashboard->{pid};
	$dashboard->{code} = $? & 127 ? -($? & 127) : $? >> 8;
	return 0;
}

# end_dashboard DASHBOARD ends it and returns its exit code; undef: it does not end. A signal is negative.
sub end_dashboard
{
	my ($dashboard) = @_;

	kill 'TERM', $dashboard->{pid} if is_up($dashboard);
	until_true(sub { !is_up($dashboard) }) or diag(last_logged($dashboard));
	return $dashboard->{code};
}

sub logged { return -e $_[0]{log} ? slurp_file($_[0]{log}) : '' }

# last_logged DASHBOARD returns the end of its log, for diagnostics.
sub last_logged
{
	my @lines = split /\n/, logged($_[0]);

	splice @lines, 0, -20 if @lines > 20;
	return join "\n", map { substr $_, 0, 200 } @lines;
}

# until_true CODE [, SECONDS] waits until it returns true; false: it did not.
sub until_true
{
	my ($code, $seconds) = @_;
	my $end = time + ($seconds // 60);

	while (1)
	{
		my $is = $code->();
		return $is if $is || time > $end;
		usleep(20_000);
	}
}

# memory_of DASHBOARD returns its resident memory in kB, sockets_of the number of its sockets with clients. (Nobody may look into its
# folder of descriptors: it cannot be debugged.) A socket that no process has any more has no inode.
sub memory_of
{
	my ($kilobytes) = slurp_file("/proc/$_[0]{pid}/status") =~ /^VmRSS:\s+(\d+)/m;
	return $kilobytes;
}

sub sockets_of
{
	my $port = sprintf '%04X', $_[0]{port};
	my @open = grep { my @field = split; $field[1] =~ /:$port$/ && $field[3] ne '0A' && $field[9] ne '0' } split /
/, slurp_file('/proc/net/tcp');

	return scalar @open;
}

# ---- HTTP ----

# connection DASHBOARD opens a socket; undef: it is refused.
sub connection
{
	my ($dashboard) = @_;

	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $dashboard->{port}, Proto => 'tcp', Timeout => 30);
}

# request METHOD, PATH, HEADERS, BODY returns the bytes of a request.
sub request
{
	my ($method, $path, $headers, $body) = @_;
	my %headers = (Host => 'localhost', %{ $headers // {} });

	$headers{'Content-Length'} //= length $body if defined $body;
	return join("\r\n", "$method $path HTTP/1.1", map({ "$_: $headers{$_}" } sort keys %headers), '', $body // '');
}

# read_more SOCKET, BUFFER (a reference), SECONDS reads what there is; false: the end, or nothing in time.
sub read_more
{
	my ($socket, $buffer, $seconds) = @_;

	return IO::Select->new($socket)->can_read($seconds) && sysread $socket, $$buffer, 65536, length $$buffer;
}

# read_answer SOCKET [, SECONDS [, REST]] reads one answer: {status, headers, body, json}; undef: none came. REST is a reference to
# what was read beyond the last answer of this connection.
sub read_answer
{
	my ($socket, $seconds, $rest) = @_;
	my $end = time + ($seconds // 30);
	my $own = '';
	my $buffer = $rest // \$own;
	my %answer;

	while ($$buffer !~ /\r\n\r\n/)
	{
		return undef if time > $end || !read_more($socket, $buffer, $end - time);
	}
	($answer{head}) = $$buffer =~ /^(.*?\r\n\r\n)/s;
	substr $$buffer, 0, length $answer{head}, '';
	($answer{status}) = $answer{head} =~ m{^HTTP/1\.[01] (\d+)} or return undef;
	$answer{headers} = { map { /^([^:]+):\s*(.*?)\r?$/ ? (lc $1 => $2) : () } split /\n/, $answer{head} };
	my $length = $answer{status} == 304 || $answer{status} == 204 ? 0 : $answer{headers}{'content-length'};
	while (!defined $length || length $$buffer < $length)
	{
		last if time > $end || !read_more($socket, $buffer, $end - time);
	}
	$answer{body} = substr $$buffer, 0, $length // length $$buffer, '';
	$answer{json} = eval { JSON::PP->new->utf8->allow_nonref->decode($answer{body}) };
	return \%answer;
}

# http DASHBOARD, METHOD, PATH [, HEADERS [, BODY]] sends a request over a connection of its own and reads the answer.
sub http
{
	my ($dashboard, $method, $path, $headers, $body) = @_;
	my $socket = connection($dashboard) or return undef;

	$socket->syswrite(request($method, $path, { Connection => 'close', %{ $headers // {} } }, $body));
	return read_answer($socket);
}

# sign_in DASHBOARD, USER [, PASSWORD] returns a session: {dashboard, cookie, csrf, answer}.
sub sign_in
{
	my ($dashboard, $user, $password) = @_;
	my $body = JSON::PP::encode_json({ user => $user, password => $password // $user });
	my $answer = http($dashboard, 'POST', "$dashboard->{base}/api/session", { 'Content-Type' => 'application/json' }, $body);
	my %session = (dashboard => $dashboard, answer => $answer);

	($session{cookie}) = ($answer->{headers}{'set-cookie'} // '') =~ /^([^;]+)/;
	$session{csrf} = $answer->{json}{csrf} if ref $answer->{json} eq 'HASH';
	return \%session;
}

# headers_of SESSION returns the headers of its requests.
sub headers_of
{
	my ($session) = @_;

	return { Cookie => $session->{cookie} // '', 'X-CSRF-Token' => $session->{csrf} // '', 'Content-Type' => 'application/json' };
}

# api SESSION, METHOD, PATH [, DATA] sends a request below /api/ as a session; data is sent as JSON.
sub api
{
	my ($session, $method, $path, $data) = @_;

	return http($session->{dashboard}, $method, "$session->{dashboard}{base}/api/$path", headers_of($session), defined $data ? JSON::PP::encode_json($data) : undef);
}

# ---- server-sent events ----

# viewer SESSION [, DATABASE] begins to read the events of a database.
sub viewer
{
	my ($session, $database) = @_;
	my $socket = connection($session->{dashboard}) or return undef;

	$socket->syswrite(request('GET', "$session->{dashboard}{base}/api/d/" . ($database // 'postgres') . '/live', headers_of($session)));
	return { socket => $socket, buffer => '', text => '' };
}

# next_event VIEWER [, SECONDS] returns the next event: {event, data, json}; undef: the answer has ended, or none came in time. The
# answer comes in chunks, whose lengths are lines of their own.
sub next_event
{
	my ($viewer, $seconds) = @_;
	my $end = time + ($seconds // 30);

	while (1)
	{
		if (!defined $viewer->{head})
		{
			$viewer->{head} = $1 if $viewer->{buffer} =~ s/^(.*?\r\n\r\n)//s;
		}
		if (defined $viewer->{head})
		{
			# Take the chunks that are whole.
			while ($viewer->{buffer} =~ /^([0-9a-fA-F]+)\r\n/ && length $viewer->{buffer} >= length($1) + 4 + hex $1)
			{
				my $from = length($1) + 2;
				$viewer->{text} .= substr $viewer->{buffer}, $from, hex $1;
				$viewer->{over} = 1 if hex $1 == 0;
				substr $viewer->{buffer}, 0, $from + 2 + hex $1, '';
			}
			while ($viewer->{text} =~ s/^(.*?)\n\n//s)
			{
				my $block = $1;
				my ($data) = $block =~ /^data: (.*)$/m or next;
				my ($event) = $block =~ /^event: (.*)$/m;
				return { event => $event // 'message', data => $data, json => eval { JSON::PP->new->utf8->decode($data) } };
			}
		}
		return undef if $viewer->{over} || time > $end || !read_more($viewer->{socket}, \$viewer->{buffer}, $end - time);
	}
}

1;
