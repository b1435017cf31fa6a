# Random calls of the extension's functions and reads of its views: valid and hostile values, contexts of the calls, and
# settings. Makes scripts for psql, without a connection; 40_random_caller.pl runs them.
#
# Functions, contexts and settings are dealt from shuffled decks, so that each comes up equally often with any seed. In
# most calls all values are valid, in the others about half of them.
package RandomCalls;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT_OK = qw(seed_session script hostile_setting places quoted);

# What a session is given by 40_random_caller.pl: {name, functions, settings}, and what is kept here of it.
my ($session, %deck, $number);

sub one_of { return $_[ rand @_ ] }

# quoted TEXT returns a literal that does not depend on standard_conforming_strings.
sub quoted { my ($s) = @_; $s =~ s/\\/\\\\/g; $s =~ s/'/''/g; return "E'$s'" }

# deal NAME, THINGS… returns the next card of a deck.
sub deal
{
	my ($name, @things) = @_;
	my $left = $deck{$name} //= [];

	@$left = map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ rand, $_ ] } @things if !@$left;
	return pop @$left;
}

# ---- hostile values ----

my @names = qw(fz.good fz.raises fz.sleeps fz.traps fz.definer fz.variadic_args fz.outs fz.poly fz.rows fz.proc fz.triggered fz.of_domain fz.agg
  pg_catalog.row_number pg_catalog.count fz.nothing public.bgjob_enqueue public.bgjob_current_id);
my @words = qw(function sql default fail skip replace any all info error succeeded failed deleted enqueued scheduled processing awaiting
  UTC Europe/Berlin Asia/Kathmandu Nowhere/Land fuzz_user postgres mail/a@b.c q1 q2 key);
my @odd = ('', ' ', '%', '*', '\\', "'", '"', '""', "a\nb\tc", '{}', '{NULL}', '-1', '$$', 'pg_temp.x', '@hourly', '@reboot', '* * * * *', '*/7 * * * *',
	'0 0 30 2 *', '0 0 29 2 1#5', '99 99 * * *', '59 23 31 12 7', 'every 3 seconds', '5 seconds', '1/0 * * * *', 'SELECT 1', 'SELECT', 'COMMIT',
	'SELECT 1/0', 'SELECT pg_catalog.pg_sleep(0.2)', 'DROP TABLE none', '$1', 'key:3', ':0', 'a:99999999999', '40001', 'XX', 'XX000', 'pg_catalog.',
	'"', '"a', '..', 'fz."good"', 'fz.good(jsonb)', '{a}', '{0}', '{{', '}', '{a', "\x{c3}\x{a4}\x{f0}\x{9f}\x{98}\x{80}", ('(' x 3000), ('[' x 3000));

sub cron_field { return one_of('*', int rand 70, int(rand 60) . '-' . int(rand 60), '*/' . int(rand 70), 'L', 'MON', 'JAN-DEC', '1,2,', '5#3', '15W', 'H', 'H(0-9)/3') }

my %hostile = (
	text => sub {
		my $kind = rand;
		return quoted(one_of(@names)) if $kind < 0.25;
		return quoted(one_of(@words)) if $kind < 0.55;
		return quoted(one_of(@odd)) if $kind < 0.8;
		return quoted(join ' ', map { cron_field() } 1 .. 4 + rand 4) if $kind < 0.9;
		return q{pg_catalog.repeat('ab', } . (rand() < 0.1 ? 500_000 : 5_000) . ')';
	},
	bigint => sub { return one_of('-1', '0', '9223372036854775807', "'-9223372036854775808'", '4294967296', map { 1 + int rand 500 } 1 .. 4) },
	integer => sub { return one_of('-1', '0', '1', '2', '7', '2147483647', "'-2147483648'", '100', '32768') },
	numeric => sub { return one_of("'NaN'", "'Infinity'", '-0.0001', '50', '100', '1e1000', "'-Infinity'", '99.9999999', '1e-1000') },
	boolean => sub { return one_of('true', 'false') },
	interval => sub { return quoted(one_of('0', '1 ms', '1 second', '-1 day', '1 hour', '178000000 years', '-178000000 years', '2147483647 months',
				'1 mon -30 days', '2147483647 days', '0.000001 s', '-2147483648 months -2147483648 days')) },
	'timestamp with time zone' => sub { return quoted(one_of('infinity', '-infinity', 'now', 'epoch', '4713-01-01 BC', '294276-12-31 23:59:59.999999Z',
				'2024-02-29 02:30 Europe/Berlin', 'tomorrow')) },
	jsonb => sub { return one_of(q{'{}'}, q{'[]'}, q{'null'}, q{'"x"'}, q{'1e400'}, q{'[1,[2,{"a":[null]}]]'}, q{'{"a":{"b":{}},"":null}'}, q{'{"a":1,"b":2,"none":3}'},
			q{pg_catalog.to_jsonb(pg_catalog.repeat('x', 10000))}, q{pg_catalog.jsonb_build_object('a', pg_catalog.repeat('x', 1000000))},
			q{(pg_catalog.repeat('[', 2000) operator(pg_catalog.||) pg_catalog.repeat(']', 2000))}, q{pg_catalog.to_jsonb(pg_catalog.array_fill(1, '{10000}'))}) },
	'"char"' => sub { return one_of("'e'", "''", "'x'") },
	regrole  => sub { return one_of("'postgres'", "'fuzz_user'", '0', '4294967295', '12345') });

# a value of a type, with its cast.
sub hostile_value
{
	my ($type) = @_;

	return "NULL::$type" if rand() < 0.1;
	if ($type =~ /^(.*)\[\]$/)
	{
		my $of = $1;
		return one_of("'{}'", "'{NULL}'", "'{{NULL,NULL},{NULL,NULL}}'", "'[-5:-4]={NULL,NULL}'", "pg_catalog.array_fill(NULL::$of, '{10000}')") . "::$type" if rand() < 0.3;
		return 'ARRAY[' . join(',', map { hostile_value($of) } 1 .. 1 + rand 4) . "]::$type";
	}
	return ($hostile{$type} ? $hostile{$type}->() : 'NULL') . "::$type";
}

# ---- valid values ----

my @schedules = ('* * * * *', '*/5 * * * *', '0 3 * * MON-FRI', '30 4 L * *', '@hourly', '@daily', '1 hour', '0 0 29 2 *', '*/10 * * * * *', 'H H * * *');

# By the name of an argument, or of function and argument. Text is quoted here; the others are expressions.
my %valid = (
	id => sub { return 'fz.some_job(' . int(rand 20) . ')' },
	args => sub { return one_of("'{}'", q{'{"a": 1}'}, q{'[{"b": [1, 2]}]'}, q{pg_catalog.jsonb_build_object('a', pg_catalog.repeat('x', 5000))}) },
	kind => [qw(function sql)],
	queue => [qw(default q1 q2 q3)],
	priority => sub { return one_of(0, 5, -5) },
	delay => sub { return quoted(one_of('0', '1 second', '1 hour', '-1 hour')) },
	run_at => sub { return quoted(one_of('2020-01-01 00:00Z', '2099-01-01 00:00Z', '2027-03-28 02:30 Europe/Berlin')) },
	max_retries => sub { return one_of(0, 1, 3) },
	timeout => sub { return quoted(one_of('1 second', '2 seconds')) },
	unique_key => [qw(k1 k2 k3)],
	on_duplicate => [qw(skip replace reschedule)],
	run_as => sub { return quoted($session->{name} eq 'admin' ? 'fuzz_user' : $session->{name}) },
	tags => sub { return one_of("'{}'", "'{a,b}'", "pg_catalog.array_fill('tag'::text, '{1000}')") },
	parameters => sub { return one_of("'{}'", q{'{"tenant": 7}'}) },
	from_state => [qw(enqueued scheduled processing succeeded failed deleted)],
	state => [qw(succeeded failed deleted)],
	older_than => sub { return quoted(one_of('1 hour', '10 years')) },
	percent => sub { return one_of(0, 50, 100) },
	message => [qw(message)],
	level => [qw(info)],
	name => [qw(q1 q2 q3)],
	value => sub { return one_of('1', q{'{"a": 1}'}, 'NULL') },
	reason => [qw(reason)],
	group_size => sub { return one_of(1, 10, 100) },
	paused => sub { return one_of('false') },
	retention => sub { return quoted(one_of('1 hour', '0', '1 year')) },
	job => ['fz.good'],
	retry_delays => sub { return one_of("'{1 second}'", "'{1 minute,1 hour}'") },
	retry_on => sub { return one_of("'{40001}'", "'{40,57014}'") },
	no_retry_on => sub { return one_of("'{22012}'", "'{22}'") },
	on_exhausted => [qw(fail delete)],
	schedule => \@schedules,
	time_zone => [qw(UTC Europe/Berlin Asia/Kathmandu)],
	day_match => [qw(any all)],
	misfire => [qw(once all skip)],
	overlap => [qw(allow skip queue cancel)],
	jitter => sub { return quoted(one_of('1 second', '1 minute')) },
	since => sub { return quoted('2027-01-01 00:00Z') },
	until => sub { return quoted(one_of('2027-01-02 00:00Z', '2027-01-01 01:00Z')) },
	starts_at => sub { return quoted('2026-01-01 00:00Z') },
	ends_at => sub { return quoted('2099-01-01 00:00Z') },
	event => [qw(creating created performing performed electing applied)],
	function => ['fz.filter'],
	jobs => [ 'fz.filtered%', 'fz.none' ],
	'any interval' => sub { return quoted(one_of('1 second', '1 hour')) },
	'bgjob_wait.timeout' => sub { return quoted(one_of('0', '5 ms', '20 ms')) },
	'bgjob_snooze.delay' => sub { return quoted(one_of('1 second', '1 hour')) },
	'bgjob_enqueue.job' => [qw(fz.good fz.good fz.raises fz.sleeps fz.traps fz.definer fz.proc fz.filtered)],
	'bgjob_enqueue_many.args' => sub { return one_of(q{ARRAY['{}','{}']}, q{ARRAY['{"a": 1}',NULL]}, "pg_catalog.array_fill('{}'::jsonb, '{500}')", rand() < 0.1 ? "pg_catalog.array_fill('{}'::jsonb, '{10000}')" : "'{}'") },
	'bgjob_recurring.name' => [qw(r1 r2 r3)],
	'bgjob_recurring_remove.name' => [qw(r1 r2 r3)],
	'bgjob_recurring_trigger.name' => [qw(r1 r2 r3)],
	'bgjob_recurring_pause.name' => [qw(r1 r2 r3)],
	'bgjob_recurring_resume.name' => [qw(r1 r2 r3)]);

# Arguments that no role can give yet, or that exclude another; a valid call omits them.
my %never = map { $_ => 1 } qw(sequence_key limits after after_batch batch condition max_running);

sub valid_value
{
	my ($function, $arg) = @_;
	my $pool = $valid{"$function->{short}.$arg->{name}"} // $valid{ $arg->{name} } // $valid{"any $arg->{type}"} // return hostile_value($arg->{type});

	return (ref $pool eq 'ARRAY' ? quoted(one_of(@$pool)) : $pool->()) . "::$arg->{type}";
}

# Returns the arguments of a call that succeeds if the role may call the function.
sub valid_arguments
{
	my ($function) = @_;
	my %given = map { $_->{name} => valid_value($function, $_) } grep { !$_->{optional} || !$never{ $_->{name} } && rand() < 0.3 } @{ $function->{args} };

	if (($given{kind} // '') =~ /sql/ && $function->{short} =~ /^bgjob_(?:enqueue|recurring)$/)
	{
		$given{job} = quoted(one_of('SELECT 1', 'SELECT pg_catalog.pg_sleep(0.05)', 'VACUUM fz.changed', 'INSERT INTO fz.changed VALUES (1) RETURNING id', 'SELECT 1/0'));
		delete $given{args};
	}
	else
	{
		delete $given{kind};
	}
	delete $given{delay} if $given{run_at};
	$given{delay} = quoted('1 hour') if $function->{short} eq 'bgjob_reschedule' && !$given{run_at};
	delete $given{on_duplicate} if !$given{unique_key};
	return map { "\"$_\" => $given{$_}" } sort keys %given;
}

# the arguments of a call that may be anything, of which the others are valid.
sub hostile_arguments
{
	my ($function) = @_;
	my @given = grep { rand() < ($_->{optional} ? 0.25 : 0.98) } @{ $function->{args} };

	return map { "\"$_->{name}\" => " . (rand() < 0.5 ? hostile_value($_->{type}) : valid_value($function, $_)) } @given;
}

# a call of a function, or a read of a view.
sub call
{
	my ($function) = @_;

	return "SELECT pg_catalog.count(x::pg_catalog.text) FROM (SELECT * FROM $function->{name} LIMIT 30) AS x" if $function->{view};
	my $call = "$function->{name}(" . join(', ', rand() < 0.6 ? valid_arguments($function) : hostile_arguments($function)) . ')';
	return $function->{trigger} ? "SELECT $call" : "SELECT pg_catalog.count(*) FROM $call AS x";
}

# ---- places ----

# Lines of a script in which the call is $_[0], what it echoes of its end $_[1]. "caught" catches the error and returns its SQLSTATE.
sub caught { my ($caught, $call, $echo) = @_; return ("SELECT pg_catalog.format('$echo', $caught(" . quoted($call) . '));') }
sub transaction { my ($begin, $call, $echo, $end) = @_; return ("$begin;", "$call;", "\\echo $echo", $end) }
sub as_job { my ($echo, $job, @options) = @_; return ("SELECT '" . sprintf($echo, 'job') . " ' || public.bgjob_enqueue(" . join(', ', quoted($job), @options, 'max_retries => 0') . ');') }

my %place = (
	plain => sub { return ("$_[0];", "\\echo $_[1]") },
	transaction => sub { return transaction('BEGIN', @_, one_of('COMMIT;', 'ROLLBACK;')) },
	savepoint => sub { return ('BEGIN;', 'SAVEPOINT s;', "$_[0];", "\\echo $_[1]", one_of('ROLLBACK TO s;', 'RELEASE s;'), "$_[0];", one_of('COMMIT;', 'ROLLBACK;')) },
	savepoints => sub { my $call = $_[0]; return ('BEGIN;', "$call;", "\\echo $_[1]", (map { ("SAVEPOINT s$_;", "$call;") } 1 .. 5), 'ROLLBACK TO s3;', "$_[0];", 'COMMIT;') },
	prepared_transaction => sub {
		my $x = "$session->{name}_" . $number;
		return ('BEGIN;', "$_[0];", "\\echo $_[1]", "PREPARE TRANSACTION '$x';", one_of('COMMIT', 'ROLLBACK') . " PREPARED '$x';");
	},
	read_only => sub { return transaction('BEGIN READ ONLY', @_, 'COMMIT;') },
	repeatable_read => sub { return transaction('BEGIN ISOLATION LEVEL REPEATABLE READ', @_, 'COMMIT;') },
	serializable => sub { return transaction('BEGIN ISOLATION LEVEL SERIALIZABLE' . one_of('', ', READ ONLY', ', READ ONLY, DEFERRABLE'), @_, 'COMMIT;') },
	failed_transaction => sub { return ('BEGIN;', "$_[0];", "\\echo $_[1]", 'SELECT 1/0;', "$_[0];", 'COMMIT;') },
	exception_block => sub { return caught('fz.caught', @_) },
	definer => sub { return caught('fz.definer_caught', @_) },
	do_block => sub { return ('DO ' . quoted('BEGIN PERFORM fz.caught(' . quoted($_[0]) . '); PERFORM fz.caught(' . quoted($_[0]) . '); END') . ';', "\\echo $_[1]") },
	before_trigger => sub { return ('INSERT INTO fz.calls VALUES (' . quoted($_[0]) . ');', "\\echo $_[1]") },
	deferred_trigger => sub { return ('BEGIN;', 'INSERT INTO fz.deferred VALUES (' . quoted($_[0]) . ');', 'COMMIT;', "\\echo $_[1]") },
	enqueueing_trigger => sub { return transaction('BEGIN', @_, 'INSERT INTO fz.changed VALUES (1); ' . one_of('COMMIT;', 'ROLLBACK;')) },
	prepared_statement => sub { return ("PREPARE p AS $_[0];", 'EXECUTE p;', "\\echo $_[1]", 'EXECUTE p;', 'DEALLOCATE ALL;') },
	cursor_with_hold => sub { return ('BEGIN;', "DECLARE c CURSOR WITH HOLD FOR $_[0];", 'COMMIT;', "\\echo $_[1]", 'FETCH ALL c;', 'CLOSE ALL;') },
	cursor => sub { return ('BEGIN;', 'DECLARE c SCROLL CURSOR FOR ' . ($_[0] =~ /FROM (.*) AS x$/ ? "SELECT * FROM $1 AS x" : $_[0]) . ';', 'FETCH 2 c;', "\\echo $_[1]", 'FETCH BACKWARD 1 c;', 'COMMIT;') },
	create_table_as => sub { return ("CREATE TEMP TABLE made AS $_[0];", "\\echo $_[1]", 'DROP TABLE IF EXISTS pg_temp.made;') },
	copy => sub { return ("COPY ($_[0]) TO STDOUT;", "\\echo $_[1]") },
	many_rows => sub { return ("SELECT pg_catalog.count((SELECT 1 FROM ($_[0]) AS y)), pg_catalog.max(n) FROM pg_catalog.generate_series(1, 20) AS n;", "\\echo $_[1]") },
	multi_statement => sub { return ("$_[0] \\; $_[0];", "\\echo $_[1]") },
	procedure => sub { return ('CALL fz.commits(' . quoted($_[0]) . ');', "\\echo $_[1]") },
	shadowed => sub {
		return ('CREATE TEMP TABLE job (id bigint, name text) ON COMMIT DELETE ROWS;', 'CREATE TEMP VIEW queue AS SELECT 1 AS pos;', 'SET search_path = pg_temp, fz_shadow, pg_catalog, public;',
			"$_[0];", "\\echo $_[1]", 'DISCARD TEMP;');
	},
	role => sub { return ('SET ROLE ' . one_of(qw(fuzz_user fuzz_stranger fuzz_monitor fuzz_second none pg_monitor)) . ';', "$_[0];", "\\echo $_[1]", 'RESET ROLE;') },
	session_authorization => sub { return ('SET SESSION AUTHORIZATION ' . one_of(qw(fuzz_user fuzz_stranger fuzz_granted)) . ';', "$_[0];", "\\echo $_[1]", 'RESET SESSION AUTHORIZATION;') },
	parallel => sub { return ('SET parallel_setup_cost = 0;', 'SET parallel_tuple_cost = 0;', 'SET min_parallel_table_scan_size = 0;', "$_[0];", "\\echo $_[1]") },
	job => sub { return as_job($_[1], $_[0], "kind => 'sql'") },
	job_function => sub { return as_job($_[1], 'fz.called', 'args => pg_catalog.jsonb_build_object(\'call\', ' . quoted($_[0]) . ')') },
	job_that_traps => sub { return as_job($_[1], 'SELECT fz.trapped(' . quoted($_[0]) . ')', "kind => 'sql'") },
	job_with_trigger => sub { return as_job($_[1], one_of('INSERT INTO fz.calls VALUES (', 'INSERT INTO fz.deferred VALUES (') . quoted($_[0]) . ')', "kind => 'sql'") },
	job_procedure => sub { return as_job($_[1], 'CALL fz.commits(' . quoted($_[0]) . ')', "kind => 'sql'") },
	filter => sub { return as_job($_[1], 'fz.filtered', 'args => pg_catalog.jsonb_build_object(\'call\', ' . quoted($_[0]) . ')') });

# places is the list of their names; those of jobs echo the job's id instead of an SQLSTATE.
sub places { return sort keys %place }

# ---- settings ----

my %texts = (
	search_path     => [ 'fz_shadow, pg_catalog, public', '', 'pg_temp', 'none' ],
	datestyle       => [ 'SQL, DMY', 'German', 'Postgres, MDY' ],
	intervalstyle   => [ 'sql_standard', 'iso_8601' ],
	timezone        => [ 'Asia/Kathmandu', 'America/St_Johns', '-167' ],
	client_encoding => [ 'LATIN1', 'SJIS', 'SQL_ASCII' ]);

# hostile_setting SETTINGS… is the next setting, set to anything; timeouts only to short ones, so that nothing here waits for long.
sub hostile_setting
{
	my ($name, $context, $type, $min, $max, $enum) = @{ deal('settings', @_) };

	return "$name = " . one_of(1, 2, 20) if $name =~ /^(statement|lock)_timeout$/;
	my $to = $texts{ lc $name } ? one_of(@{ $texts{ lc $name } })
		: $type eq 'bool' ? one_of('on', 'off')
		: $type eq 'enum' ? one_of(split /,/, $enum)
		: $type eq 'string' ? one_of('', 'x', 'postgres')
		:                     one_of($min, $max);
	return lc $name eq 'search_path' && $to ne '' ? "search_path = $to" : "$name = " . quoted($to);
}

# ---- scripts ----

# seed_session SEED, SESSION: what follows is for that session. Each has numbers and decks of its own.
sub seed_session
{
	(my $seed, $session) = @_;
	srand($seed);
	%deck = %{ $session->{deck} //= {} };
	return;
}

# one call, somewhere. It echoes "# place function SQLSTATE".
sub step
{
	my $function = deal('functions', @{ $session->{functions} });
	my $name = deal('places', places());

	# No time-out of the server's ends what is done at commit, so what may last, or return millions of rows, is called elsewhere.
	$name = 'plain' if $function->{short} =~ /^bgjob_(?:wait|cron_occurrences)$/ && $name =~ /^(?:cursor_with_hold|deferred_trigger)$/;
	my @hostile = rand() < 0.4 ? map { 'SET ' . hostile_setting(@{ $session->{settings} }) . ';' } 1 .. 1 + rand 3 : ();
	my $indirect = $name =~ /^job|^filter$/;
	my $caught = $name eq 'exception_block' || $name eq 'definer';
	my $echo = "# $name $function->{short} " . ($caught || $indirect ? '%s' : ':SQLSTATE');

	$number++;
	return (@hostile, $place{$name}->(call($function), $echo), 'ROLLBACK;', 'RESET ALL;', "SET statement_timeout = '250ms';");
}

# script CALLS is the text of one for psql.
sub script
{
	my ($calls) = @_;
	my $text = join "\n", '\timing on', 'SET client_min_messages = error;', "SET statement_timeout = '250ms';", map { step() } 1 .. $calls;

	$session->{deck} = {%deck};
	return "$text\n";
}

1;
