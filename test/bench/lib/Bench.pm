# What the cases share: the private server, its databases and settings, the sessions, the sizes, the results.
#
# Databases: "bench" has bgjob (fresh() makes it anew), "peers" has what it is compared with, and what is asked about both
# is asked in "postgres", so that asking leaves no trace in their statistics. Jobs are those of role "app", no superuser.
# Settings are made by ALTER SYSTEM and taken back after each case.
package Bench;
use strict;
use warnings;
use Bench::Sql;
use Time::HiRes qw(time sleep);

# new connects to the server that suite.sh has started: dir, bindir, results, quick, repeat.
sub new
{
	my ($class, %opt) = @_;
	my $self = bless { %opt, sessions => {}, statements => {}, restart => 0, changed => 0 }, $class;

	$self->{peers} = -d "$opt{dir}/peers";
	for my $role (qw(app other))
	{
		$self->admin->rows("CREATE ROLE $role LOGIN") unless $self->admin->value("SELECT count(*) FROM pg_roles WHERE rolname = '$role'");
	}
	return $self;
}

# ---- sizes and progress

sub quick   { $_[0]{quick} }
sub repeat  { $_[0]{repeat} }
sub peers   { $_[0]{peers} }
sub results { $_[0]{results} }

# n is a number of jobs, of which --quick takes a twentieth.
sub n { my ($self, $jobs) = @_; return $self->quick ? int($jobs / 20) || 1 : $jobs }

# seconds is a duration, of which --quick takes a twelfth.
sub seconds { my ($self, $seconds) = @_; return $self->quick ? $seconds / 12 : $seconds }

# progress prints a line about what goes on.
sub progress
{
	my ($self, $text) = @_;

	printf "%s  %s\n", sprintf('%02d:%02d:%02d', (localtime)[ 2, 1, 0 ]), $text;
}

# alternate measures variants in turn, A B A B, as often as --repeat says: name => sub. Each sub returns its figures:
# metric => [ unit, value ], or for a series metric => [ unit, [ [ at, value ], … ] ].
sub alternate
{
	my ($self, $case, @variants) = @_;

	for my $run (1 .. $self->repeat)
	{
		for (my $i = 0; $i < @variants; $i += 2)
		{
			my %figures = $variants[ $i + 1 ]->($run);
			$self->record($case, $variants[$i], %figures);
			$self->progress("$case: $variants[$i] $run/$self->{repeat}: " . _brief(%figures));
		}
	}
}

# record puts figures into the results.
sub record
{
	my ($self, $case, $variant, %figures) = @_;

	for my $metric (sort keys %figures)
	{
		my ($unit, $value) = @{ $figures{$metric} };
		my @points = ref $value ? @$value : ([ '', $value ]);
		$self->results->add(case => $case, variant => $variant, metric => $metric, unit => $unit, at => $_->[0], value => $_->[1])
		  for @points;
	}
}

# skip says why a part of a case is left out.
sub skip { my ($self, $case, $why) = @_; $self->progress("$case: SKIPPED: $why") }

# ---- server and settings

# postmaster is its process id.
sub postmaster
{
	my ($self) = @_;

	open my $file, '<', "$self->{dir}/data/postmaster.pid" or die "the server is not running\n";
	return scalar(<$file>) + 0;
}

sub socket { "$_[0]{dir}/socket" }

# run runs one of the server's programs quietly; dies if it fails.
sub run
{
	my ($self, $program, @arguments) = @_;
	my $log = "$self->{dir}/$program.out";

	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open STDIN,  '<',  '/dev/null';
		open STDOUT, '>',  $log;
		open STDERR, '>&', \*STDOUT;
		exec "$self->{bindir}/$program", @arguments or exit 127;
	}
	waitpid $pid, 0;
	open my $out, '<', $log or die "$log: $!";
	my $text = do { local $/; <$out> } // '';
	die "$program failed:\n$text" if $?;
	return $text;
}

# settings changes settings until the end of the case; a list is given as a reference. The server is started again if
# one of them wants that, else it reads them.
sub settings
{
	my ($self, %settings) = @_;

	for my $name (sort keys %settings)
	{
		my $value = $settings{$name};
		$self->admin->rows("ALTER SYSTEM SET $name = " . join ', ', map { "'$_'" } ref $value ? @$value : $value);
	}
	my $static = grep { /^(?:max_|shared_)/ } keys %settings;
	$self->{changed} = 1;
	$self->{restart} ||= $static;
	$static ? $self->restart : $self->reload;
}

# defaults takes all settings back.
sub defaults
{
	my ($self) = @_;

	return unless $self->{changed};
	$self->admin->rows('ALTER SYSTEM RESET ALL');
	$self->{restart} ? $self->restart : $self->reload;
	@$self{qw(changed restart)} = (0, 0);
}

# restart starts the server again; sessions are opened anew when they are wanted.
sub restart
{
	my ($self) = @_;

	$self->close_sessions;
	$self->run('pg_ctl', '-D', "$self->{dir}/data", '-l', "$self->{dir}/server.log", '-m', 'fast', '-w', '-t', 120, 'restart');
}

# reload has everybody read the settings.
sub reload
{
	my ($self) = @_;

	$self->admin->rows('SELECT pg_reload_conf()');
	sleep 0.2;
}

# processing turns bgjob's workers on or off; on does not wait, off waits until they have gone.
sub processing
{
	my ($self, $state) = @_;

	$self->admin->rows("ALTER SYSTEM SET bgjob.enabled = $state");
	$self->admin->rows('SELECT pg_reload_conf()');
	$self->{changed} = 1;
	return if $state eq 'on';
	$self->wait_for(60, 'workers leave', sub {
		!$self->admin->value(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('bgjob worker', 'bgjob scheduler')));
	});
}

# wait_for polls until the sub returns true; dies when the time is up.
sub wait_for
{
	my ($self, $seconds, $what, $condition) = @_;
	my $deadline = time + $seconds;

	until ($condition->())
	{
		die "waited $seconds s in vain: $what\n" if time > $deadline;
		sleep 0.02;
	}
}

# ---- databases and sessions

# admin is the session in "postgres".
sub admin { $_[0]->session('postgres') }

# session is a session in a database, opened when first wanted; a name makes it another one of the same role.
sub session
{
	my ($self, $db, $user, $name) = @_;

	$user //= 'postgres';
	return $self->{sessions}{ join ' ', $db, $user, $name // '' } //=
	  Bench::Sql->new(socket => $self->socket, db => $db, user => $user);
}

# close_sessions ends the sessions in a database, or all of them.
sub close_sessions
{
	my ($self, $db) = @_;

	for my $key (keys %{ $self->{sessions} })
	{
		next if defined $db && $key !~ /^\Q$db\E /;
		my $session = delete $self->{sessions}{$key};
		$self->{statements}{ $session->{db} } += $session->{statements};
		eval { $session->close };
	}
}

# statements is how many statements our sessions have sent to a database.
sub statements
{
	my ($self, $db) = @_;
	my $sum = $self->{statements}{$db} // 0;

	$sum += $_->{statements} for grep { $_->{db} eq $db } values %{ $self->{sessions} };
	return $sum;
}

# flush_statistics has our sessions in a database report what they did.
sub flush_statistics
{
	my ($self, $db) = @_;

	$_->rows('SELECT pg_stat_force_next_flush()') for grep { $_->{db} eq $db } values %{ $self->{sessions} };
}

# fresh makes a database anew: with the extension, the role's grant and the jobs' functions; or an empty one (empty => 1).
# The others are dropped, so that no autovacuum is busy with what they have left; unless beside => 1.
sub fresh
{
	my ($self, $db, %opt) = @_;

	for my $old ($opt{beside} ? $db : qw(bench big peers))
	{
		$self->close_sessions($old);
		$self->admin->rows("DROP DATABASE IF EXISTS $old");
	}
	$self->admin->rows("CREATE DATABASE $db");
	return if $opt{empty};
	$self->session($db)->rows(<<~'SQL');
		CREATE EXTENSION bgjob;
		GRANT USAGE ON SCHEMA bgjob TO app, other;
		GRANT CREATE ON SCHEMA public TO app;
		SQL
	$self->session($db, 'app')->rows(<<~'SQL');
		CREATE FUNCTION bench_noop(args jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
		CREATE FUNCTION bench_sleep(args jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001); END $$;
		CREATE FUNCTION bench_nap(args jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); END $$;
		SQL
}

# has_function tells whether the extension has a function of this name yet.
sub has_function
{
	my ($self, $db, $name) = @_;

	return $self->session($db)->value("SELECT count(*) FROM pg_proc WHERE proname = '$name'");
}

# grouped makes queue "g" of groups of 200 in a fresh database; false, and says so, where there are no groups yet.
sub grouped
{
	my ($self, $db, $case) = @_;

	unless ($self->has_function($db, 'bgjob_queue'))
	{
		$self->skip($case, 'the extension has no bgjob_queue() yet');
		return 0;
	}
	$self->session($db)->rows(q(SELECT bgjob_queue('g', group_size => 200)));
	return 1;
}

# _brief is what alternate prints of some figures.
sub _brief
{
	my %figures = @_;

	return join ', ', map { sprintf '%s %.4g %s', $_, $figures{$_}[1], $figures{$_}[0] } grep { !ref $figures{$_}[1] } sort keys %figures;
}

1;
