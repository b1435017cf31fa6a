# A random caller of every SQL function of the extension: odd, huge, null and hostile values; in transactions, savepoints,
# prepared transactions, exception blocks, triggers and jobs; by four kinds of roles; with settings that a user may
# change set to anything. Whatever it calls, the server lives, nothing is an internal error, and bgjob goes on.
#
# BGJOB_FUZZ_CALLS and BGJOB_FUZZ_SEED say how many calls and which. What is called depends on the seed and on the
# server's version; what it meets also on the jobs that run meanwhile. Each batch is kept as a script when it fails.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $calls = $ENV{BGJOB_FUZZ_CALLS} || 2000;
my $seed  = $ENV{BGJOB_FUZZ_SEED} || 20261129;
srand($seed);
note("BGJOB_FUZZ_CALLS=$calls BGJOB_FUZZ_SEED=$seed");

my $node = bgjob_cluster('random', 'bgjob.workers' => 3, log_error_verbosity => 'verbose', max_prepared_transactions => 10);
sub value { return $node->safe_psql('postgres', $_[0]) }
sub one_of { return $_[rand @_] }
sub quoted { my ($s) = @_; $s =~ s/\\/\\\\/g; $s =~ s/'/''/g; return "E'$s'" }

value(<<'SQL');
CREATE ROLE fuzz_user LOGIN;
CREATE ROLE fuzz_stranger LOGIN;
CREATE ROLE fuzz_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE fuzz_honest LOGIN;
GRANT USAGE ON SCHEMA bgjob TO fuzz_user, fuzz_honest;
GRANT EXECUTE ON FUNCTION bgjob_queue, bgjob_queue_pause, bgjob_queue_resume, bgjob_queue_remove TO fuzz_user;
CREATE SCHEMA fz; CREATE SCHEMA fz_shadow;
GRANT ALL ON SCHEMA fz, fz_shadow TO PUBLIC;
SET ROLE fuzz_user;
CREATE FUNCTION fz.good(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION fz.raises() RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = pg_catalog.repeat('x', 20000); END$$;
CREATE FUNCTION fz.sleeps() RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_sleep(0.3)';
CREATE FUNCTION fz.traps() RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM pg_catalog.pg_sleep(0.3); EXCEPTION WHEN query_canceled THEN NULL; END$$;
CREATE FUNCTION fz.definer() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = fz_shadow AS $$BEGIN PERFORM public.bgjob_log('x'); END$$;
CREATE FUNCTION fz.variadic_args(VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT $1[1]';
CREATE FUNCTION fz.outs(OUT a int, OUT b text) LANGUAGE sql AS $$SELECT 1, 'x'$$;
CREATE FUNCTION fz.poly(anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION fz.rows() RETURNS SETOF int LANGUAGE sql AS 'SELECT pg_catalog.generate_series(1, 3)';
CREATE PROCEDURE fz.proc() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$;
CREATE FUNCTION fz.triggered() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN EXECUTE NEW.call; RETURN NEW; END$$;
CREATE FUNCTION fz.refuses(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'refused'; END$$;
CREATE DOMAIN fz.never AS text CHECK (fz.refuses(VALUE));
CREATE FUNCTION fz.of_domain(fz.never) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE AGGREGATE fz.agg(jsonb) (SFUNC = pg_catalog.jsonb_concat, STYPE = jsonb);
CREATE FUNCTION fz.caught(text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE $1; EXCEPTION WHEN OTHERS OR query_canceled THEN RAISE WARNING USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM; END$$;
CREATE FUNCTION fz_shadow.climb() RETURNS void LANGUAGE plpgsql AS $$BEGIN ALTER ROLE fuzz_user SUPERUSER; EXCEPTION WHEN OTHERS THEN NULL; END$$;
CREATE FUNCTION fz_shadow.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT fz_shadow.climb(); SELECT pg_catalog.now()$$;
CREATE FUNCTION fz_shadow.text_eq(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT fz_shadow.climb(); SELECT false$$;
CREATE FUNCTION fz_shadow.bigint_eq(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$SELECT fz_shadow.climb(); SELECT true$$;
CREATE OPERATOR fz_shadow.= (LEFTARG = text, RIGHTARG = text, FUNCTION = fz_shadow.text_eq);
CREATE OPERATOR fz_shadow.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = fz_shadow.bigint_eq);
CREATE TABLE fz.calls (call text);
CREATE TRIGGER call BEFORE INSERT ON fz.calls FOR EACH ROW EXECUTE FUNCTION fz.triggered();
GRANT ALL ON fz.calls TO PUBLIC;
CREATE TABLE fz.changed (id bigint);
CREATE TRIGGER enqueues AFTER INSERT ON fz.changed FOR EACH ROW EXECUTE FUNCTION public.bgjob_enqueue_trigger('fz.good');
GRANT ALL ON fz.changed TO PUBLIC;
SQL

# Every function of the extension: its name, whether it is a trigger function, and the name, type and optionality of each argument.
my @functions = map {
	my ($name, $trigger, $args) = split /\|/, $_, 3;
	{ name => $name, trigger => $trigger eq 't', args => [ map { my ($arg, $type, $optional) = split /:/; { name => $arg, type => $type, optional => $optional } } split /;/, $args ] }
} split /\n/, value(<<'SQL');
SELECT p.oid::regproc, prorettype = 'trigger'::regtype, coalesce((SELECT string_agg(format('%s:%s:%s', p.proargnames[n], format_type(t, NULL), (n > pronargs - pronargdefaults)::int), ';' ORDER BY n)
                                 FROM unnest(proargtypes::oid[]) WITH ORDINALITY AS a (t, n)), '')
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'bgjob') ORDER BY 1
SQL
cmp_ok(scalar @functions, '>', 40, 'the functions are found');

my @names = qw(fz.good fz.raises fz.sleeps fz.traps fz.definer fz.variadic_args fz.outs fz.poly fz.rows fz.proc fz.triggered fz.of_domain fz.agg
  pg_catalog.row_number pg_catalog.count fz.nothing public.bgjob_enqueue public.bgjob_current_id);
my @words = qw(function sql default fail skip replace any all info error succeeded failed deleted enqueued scheduled processing awaiting
  UTC Europe/Berlin Asia/Kathmandu Nowhere/Land fuzz_user postgres mail/a@b.c q1 q2 key);
my @odd = ('', ' ', '%', '*', '\\', "'", '"', '""', "a\nb\tc", '{}', '{NULL}', '-1', '$$', 'pg_temp.x', '@hourly', '@reboot', '* * * * *', '*/7 * * * *',
	'0 0 30 2 *', '0 0 29 2 1#5', '99 99 * * *', '59 23 31 12 7', 'every 3 seconds', '5 seconds', '1/0 * * * *', 'SELECT 1', 'SELECT', 'COMMIT',
	'SELECT 1/0', 'SELECT pg_catalog.pg_sleep(0.2)', 'DROP TABLE none', '$1', 'key:3', ':0', 'a:99999999999', '40001', 'XX', 'XX000');

sub cron_field { return one_of('*', int rand 70, int(rand 60) . '-' . int(rand 60), '*/' . int(rand 70), 'L', 'MON', 'JAN-DEC', '1,2,', '5#3', '15W') }

my %values = (
	text => sub {
		my $kind = rand;
		return quoted(one_of(@names)) if $kind < 0.3;
		return quoted(one_of(@words)) if $kind < 0.65;
		return quoted(one_of(@odd)) if $kind < 0.85;
		return quoted(join ' ', map { cron_field() } 1 .. 4 + rand 4) if $kind < 0.93;
		return q{pg_catalog.repeat('ab', } . (rand() < 0.01 ? 5_000_000 : 5_000) . ')';
	},
	bigint => sub { return one_of('-1', '0', '9223372036854775807', "'-9223372036854775808'", map { 1 + int rand($calls / 10 + 50) } 1 .. 6) },
	integer => sub { return one_of('-1', '0', '1', '2', '7', '2147483647', "'-2147483648'", '100', '32768') },
	numeric => sub { return one_of("'NaN'", "'Infinity'", '-0.0001', '50', '100', '1e1000', "'-Infinity'", '99.9999999') },
	boolean => sub { return one_of('true', 'false') },
	interval => sub { return quoted(one_of('0', '1 ms', '1 second', '-1 day', '1 hour', '178000000 years', '-178000000 years', '2147483647 months',
				'1 mon -30 days', '2147483647 days', '0.000001 s')) },
	'timestamp with time zone' => sub { return quoted(one_of('infinity', '-infinity', 'now', 'epoch', '4713-01-01 BC', '294276-12-31 23:59:59.999999Z',
				'2024-02-29 02:30 Europe/Berlin', 'tomorrow')) },
	jsonb => sub { return one_of(q{'{}'}, q{'[]'}, q{'null'}, q{'"x"'}, q{'1e400'}, q{'[1,[2,{"a":[null]}]]'}, q{'{"a":{"b":{}},"":null}'},
			q{pg_catalog.to_jsonb(pg_catalog.repeat('x', 10000))}, q{(pg_catalog.repeat('[', 2000) operator(pg_catalog.||) pg_catalog.repeat(']', 2000))}) },
	'"char"' => sub { return one_of("'e'", "''", "'x'") },
	regrole  => sub { return one_of("'postgres'", "'fuzz_user'", '0', '4294967295', '12345') });

# a value of a type, with its cast.
sub value_of
{
	my ($type) = @_;

	return "NULL::$type" if rand() < 0.1;
	if ($type =~ /^(.*)\[\]$/)
	{
		my $of = $1;
		return one_of("'{}'", "'{NULL}'", "'{{NULL,NULL},{NULL,NULL}}'", "'[-5:-4]={NULL,NULL}'") . "::$type" if rand() < 0.2;
		return 'ARRAY[' . join(',', map { value_of($of) } 1 .. 1 + rand 4) . "]::$type";
	}
	return ($values{$type} ? $values{$type}->() : 'NULL') . "::$type";
}

# a call of a function, with few of its optional arguments, mostly with all of the others.
sub call
{
	my $function = one_of(@functions);
	my @given = grep { rand() < ($_->{optional} ? 0.25 : 0.99) } @{ $function->{args} };

	my $call = "$function->{name}(" . join(', ', map { "\"$_->{name}\" => " . value_of($_->{type}) } @given) . ')';

	return $function->{trigger} ? "SELECT $call" : "SELECT pg_catalog.count(*) FROM $call AS x";
}

# Left out: what ends the session, fills the log or hides the library, as it would with any extension.
my @settings = map { [ split /\|/, $_, -1 ] } split /\n/, value(<<'SQL');
SELECT name, context, vartype, min_val, max_val, array_to_string(enumvals, ',') FROM pg_settings
WHERE context IN ('user', 'superuser')
  AND name !~ '^(log_|debug_print|debug_pretty|debug_discard|trace_|exit_on_error|idle_|transaction_timeout|dynamic_library_path|client_min|zero_dam|ignore_|session_pre|local_pre|backtrace|wal_cons)'
ORDER BY name
SQL
my %texts = (
	search_path     => [ 'fz_shadow, pg_catalog, public', '', 'pg_temp', 'none' ],
	datestyle       => [ 'SQL, DMY', 'German', 'Postgres, MDY' ],
	timezone        => [ 'Asia/Kathmandu', 'America/St_Johns', '-167' ],
	client_encoding => [ 'LATIN1', 'SJIS', 'SQL_ASCII' ]);

# a setting set to anything; the timeouts only to short ones, so that nothing here waits for long.
sub hostile_setting
{
	my ($superuser) = @_;
	my ($name, $context, $type, $min, $max, $enum) = @{ one_of(grep { $superuser || $_->[1] eq 'user' } @settings) };

	return 'SET ' . $name . ' = ' . (1 + int rand 50) if $name =~ /^(statement|lock)_timeout$/;
	my $to = $texts{ lc $name } ? one_of(@{ $texts{ lc $name } })
		: $type eq 'bool' ? one_of('on', 'off')
		: $type eq 'enum' ? one_of(split /,/, $enum)
		: $type eq 'string' ? one_of('', 'x', 'postgres')
		:                     one_of($min, $max);
	return lc $name eq 'search_path' && $to ne '' ? "SET search_path = $to" : "SET $name = " . quoted($to);
}

# the lines of a script that makes one call somewhere.
my $prepared = 0;
my @contexts = (
	sub { return ("$_[0];") },
	sub { return ("$_[0];") },
	sub { return ('BEGIN;', "$_[0];", one_of('COMMIT;', 'ROLLBACK;')) },
	sub { return ('BEGIN;', 'SAVEPOINT s;', "$_[0];", one_of('ROLLBACK TO s;', 'RELEASE s;'), "$_[0];", one_of('COMMIT;', 'ROLLBACK;')) },
	sub { my $x = 'fz' . $prepared++; return ('BEGIN;', "$_[0];", "PREPARE TRANSACTION '$x';", one_of('COMMIT', 'ROLLBACK') . " PREPARED '$x';") },
	sub { return ('SELECT fz.caught(' . quoted($_[0]) . ');') },
	sub { return ('INSERT INTO fz.calls VALUES (' . quoted($_[0]) . ');') },
	sub { return ('INSERT INTO fz.changed VALUES (1);', "$_[0];") },
	sub { return ('SELECT public.bgjob_enqueue(' . quoted($_[0]) . ", kind => 'sql', max_retries => 0);") },
	sub { return ('SELECT public.bgjob_enqueue(' . quoted(one_of('SELECT fz.caught(', 'INSERT INTO fz.calls VALUES (') . quoted($_[0]) . ')') . ", kind => 'sql', max_retries => 1);") },
	sub { return ('BEGIN ' . one_of('READ ONLY', 'ISOLATION LEVEL REPEATABLE READ', 'ISOLATION LEVEL SERIALIZABLE', 'ISOLATION LEVEL SERIALIZABLE, READ ONLY') . ';',
			"$_[0];", 'COMMIT;') });

sub step
{
	my ($superuser) = @_;
	my @hostile = rand() < 0.5 ? map { hostile_setting($superuser) . ';' } 1 .. 1 + rand 3 : ();

	return (@hostile, one_of(@contexts)->(call()), 'RESET ALL;', "SET statement_timeout = '100ms';");
}

# run_batch NUMBER, COUNT: one session of one role. Whether it went well; if not, it says how and keeps the script.
my $seen = 0;
my $born = value('SELECT pg_postmaster_start_time()');

sub run_batch
{
	my ($number, $count) = @_;
	my $role = (qw(postgres fuzz_user fuzz_user fuzz_stranger fuzz_monitor))[ $number % 5 ];
	my $user = $role eq 'postgres' ? value('SELECT current_user') : $role;
	my $script = join "\n", "SET statement_timeout = '100ms';", map { step($role eq 'postgres') } 1 .. $count;
	my ($out, $err, $late) = ('', '', 0);
	my @wrong;

	eval { $node->psql('postgres', $script, stdout => \$out, stderr => \$err, on_error_stop => 0, timeout => 120, timed_out => \$late, extra_params => [ '-U', $user ]); 1 }
		or push @wrong, "psql: $@";
	push @wrong, 'it hangs' if $late;
	push @wrong, 'the session was lost: ' . substr($err, -2000) if $err =~ /server closed the connection|connection to server was lost/;
	my $now = eval { value('SELECT pg_postmaster_start_time()') } // 'none';
	push @wrong, "the server started again: $now" if $now ne $born;
	my $log = slurp_file($node->logfile, $seen);
	$seen += length $log;
	push @wrong, $1 while $log =~ /^(.*(?:(?:PANIC|TRAP): .*|terminated by signal (?:4|6|7|8|11)\b.*|(?:ERROR|FATAL|WARNING|LOG):  (?:XX000|XX001|XX002|58\w{3}): .*(?:\n.*){0,4}))/mg;
	push @wrong, 'a role became a superuser' if value('SELECT count(*) FROM pg_roles WHERE rolsuper') ne '1';
	return 1 if !@wrong;

	my $file = "$PostgreSQL::Test::Utils::log_path/random_caller_${seed}_$number.sql";
	PostgreSQL::Test::Utils::append_to_file($file, "$script\n");
	diag("seed $seed, batch $number as $role, script $file:\n" . join("\n", @wrong[ 0 .. ($#wrong > 9 ? 9 : $#wrong) ]));
	return 0;
}

my ($done, $number, $bad) = (0, 0, 0);
while ($done < $calls && $bad < 20)
{
	my $count = $calls - $done > 50 ? 50 : $calls - $done;
	$bad++ if !run_batch($number++, $count);
	$done += $count;
}
is($bad, 0, "$done calls, seed $seed: no crash, hang or internal error");

note('jobs by state: ' . value(q{SELECT string_agg(state || ' ' || n, ', ') FROM (SELECT state, count(*) AS n FROM bgjob.jobs GROUP BY 1) AS s}));

# bgjob goes on: an honest role's job is performed. What the calls left (paused queues, filters, waiting jobs) is first put aside, as its owner may.
is(value('SELECT count(*) FROM pg_prepared_xacts'), '0', 'no prepared transaction is left');
value(q{SELECT count(bgjob_recurring_remove(name)) FROM bgjob.recurring_jobs; SELECT count(bgjob_filter_remove(name)) FROM bgjob.filters;
		SELECT count(bgjob_queue_remove(queue)) FROM bgjob.queues; SELECT count(bgjob_queue_resume('default'))});
my $job = $node->safe_psql('postgres', q{SELECT public.bgjob_enqueue('SELECT 1', kind => 'sql', priority => 1000)}, extra_params => [ '-U', 'fuzz_honest' ]);
wait_until($node, "SELECT state = 'succeeded' FROM bgjob.jobs WHERE id = $job", 'an ordinary job of another role is performed', 30);
check_counters($node);
done_testing();
