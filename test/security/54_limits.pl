# Limits, weights and the keys of jobs under attack: who configures them, hostile placeholders and arguments, rows edited by
# hand, what a full queue tells, prepared transactions, dumps, restarts.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('limits', 'bgjob.workers' => 2, fsync => 'off', max_prepared_transactions => 5);
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE ops LOGIN; CREATE ROLE stranger LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app, other, ops;
	GRANT CREATE ON SCHEMA public TO app;
	GRANT EXECUTE ON FUNCTION bgjob_limit, bgjob_limit_remove, bgjob_weight TO ops;
	CREATE FUNCTION work(tenant text, tokens text DEFAULT '1') RETURNS void LANGUAGE sql AS '';
	SELECT bgjob_queue('held', paused => true), bgjob_limit('smtp', 2), bgjob_limit('tenant:*', 1)});

sub value { return $node->safe_psql('postgres', $_[0]) }
# as ROLE, SQL: the SQLSTATE of its error, or the last line of its answer. It is sent as the input of psql: it may be large.
sub as
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSET SESSION AUTHORIZATION $role;\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : (split /\n/, $out)[-1] // '';
}
sub limits_of { return value("SELECT array_to_string(limits, ' ') FROM bgjob.jobs WHERE id = $_[0]") }

# ---- who may ----

my %calls = (bgjob_limit => q{'x', 1}, bgjob_limit_remove => q{'x'}, bgjob_weight => q{'x', 2});
for my $function (sort keys %calls)
{
	is(as('app', "SELECT $function($calls{$function})"), '42501', "$function() is not for everybody");
	is(as('stranger', "SELECT $function($calls{$function})"), '42501', "nor for a role without USAGE: $function()");
	unlike(as('ops', "SELECT $function($calls{$function})"), qr/^\d{5}$/, "$function() is for a role with EXECUTE");
}
is(as('app', "$_"), '42501', "denied: $_") for 'SELECT * FROM bgjob_internal.limit_conf', 'INSERT INTO bgjob_internal.weight_conf VALUES (1)', 'SELECT bgjob_internal.limits_changed()';
value(q{SELECT bgjob_limit('smtp', 2)});
# Every role uses every limit, as another role, too.
my $id = as('app', q{SELECT bgjob_enqueue('work', '["a"]', limits => '{smtp,tenant:a}', queue => 'held')});
is(limits_of($id), 'smtp tenant:a', 'a role uses limits that an administrator has made');
# Limits of the same name in schemas, tables or functions of a role's own mean nothing.
as('app', q{CREATE TABLE limit_conf (name text); INSERT INTO limit_conf VALUES ('mine'); CREATE FUNCTION bgjob_limit(text) RETURNS void LANGUAGE sql AS ''});
is(as('app', q{SET search_path = public, bgjob_internal; SELECT bgjob_enqueue('work', '["a"]', limits => '{mine}')}), '22023', 'a table of a role\'s own adds no limit');

# ---- what arguments can do ----

# No argument becomes a placeholder, units, or another limit.
for my $hostile ('{tokens}', '{{tokens}}', 'x=99', '=', '*', 'x,smtp', '"x"', q{x'||'y}, '$1', '\\', "\x{1}", 'NULL', '{1}={1}')
{
	my $json = $hostile =~ s/([\\"])/\\$1/gr =~ s/\x{1}/\\u0001/gr =~ s/'/''/gr;
	$id = as('app', qq{SELECT bgjob_enqueue('work', '["$json", "5"]', limits => ARRAY['tenant:{tenant}'], sequence_key => '{tenant}', fairness_key => '{{{tenant}}}', queue => 'held')});
	is(value("SELECT format('%s %s %s', limits[1], sequence_key, fairness_key) FROM bgjob.jobs WHERE id = $id"),
		"tenant:$hostile" . ($hostile =~ /=/ ? '=1' : '') . " $hostile {$hostile}", "an argument that is $hostile stays as it is");
}
is(as('app', qq{SELECT bgjob_enqueue('work', '["a", "$_"]', limits => ARRAY['smtp={tokens}'])}), '22023', "units that are $_ are refused")
	for '1e3', '0x10', '-1', '1=1', ' 1', '1;', '{tenant}', '99999999999999999999', '';
# A type whose conversion runs code of its owner: placeholders convert nothing.
value(q{CREATE SCHEMA o AUTHORIZATION other});
as('other', q{CREATE FUNCTION o.spy(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'converted as %', current_user; END$$;
	CREATE DOMAIN o.d AS text CHECK (o.spy(VALUE)); GRANT USAGE ON SCHEMA o TO PUBLIC; CREATE FUNCTION o.f(a o.d) RETURNS void LANGUAGE sql AS ''});
my ($out, $err) = ('', '');
$node->psql('postgres', q{SELECT bgjob_enqueue('o.f', '["x"]', limits => ARRAY['smtp={1}'], run_as => 'other')}, stdout => \$out, stderr => \$err);
like($err, qr/converted as other|restricted/, 'an argument is converted as the role that runs the job, before it fills anything');

# Large values are refused at once, and errors repeat only a part of them.
my $started = time;
for my $large (q{limits => ARRAY[repeat('x', 20000000)]}, q{limits => ARRAY['smtp=' || repeat('1', 20000000)]}, q{sequence_key => repeat('x', 20000000)},
	q{limits => ARRAY[repeat('{tenant}', 100000)]}, q{limits => array_fill('smtp'::text, ARRAY[1000000])}, q{limits => ARRAY['{' || repeat('x', 20000000) || '}']},
	q{fairness_key => repeat('{tenant}', 1000)})
{
	my ($status, $answer, $error) = $node->psql('postgres', "SELECT bgjob_enqueue('work', jsonb_build_array(repeat('y', 1000)), queue => 'held', $large)");
	like($error, qr/ERROR/, "refused: $large");
	cmp_ok(length($error), '<', 50000, 'with an error of a reasonable length');
}
cmp_ok(time - $started, '<', 60, 'in a reasonable time');
is(value(q{SELECT count(*) FROM bgjob.jobs WHERE octet_length(limits::text) > 10000}), 0, 'no such job has been enqueued');

# ---- a full queue tells nothing of the jobs of others ----

value(q{SELECT bgjob_queue('full', max_length => 3, paused => true); SELECT bgjob_enqueue('work', '["secret"]', queue => 'full') FROM generate_series(1, 3)});
$node->psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('work', '["a"]', queue => 'full')}, stderr => \$err);
like($err, qr/queue "full" is full/, 'a queue that is full of the jobs of another role');
unlike($err, qr/secret|postgres/, 'the error says nothing of them');
is(as('app', q{SELECT coalesce(sum(enqueued), 0) FROM bgjob.queues WHERE queue = 'full'}), '0', 'nor does the view');

# ---- rows that were edited by hand ----

value(q{INSERT INTO bgjob_internal.limit_conf VALUES ('odd', 1, -5, -1, '-1 s', 'x', 'y', 'infinity'), ('', 2, NULL, NULL, NULL, 's', 'w', NULL),
	('huge', 3, 2147483647, 2147483647, '170000000 years', 't', 'd', '-infinity'), (repeat('z', 5000), 4, 1, NULL, NULL, 's', 'w', NULL), ('a*b=*', 5, 1, NULL, NULL, 's', 'w', NULL);
	INSERT INTO bgjob_internal.weight_conf VALUES ('w', 1, 'NaN'), ('v', 2, -1), ('u', 3, 'Infinity'), (repeat('*', 600), 4, 1)});
is(limits_of(as('app', q{SELECT bgjob_enqueue('work', '["a"]', limits => '{odd,huge,a*b=x=2}', queue => 'held')})), 'odd huge a*b=x=2', 'odd rows are read');
value(q{UPDATE bgjob_internal.queue_conf SET max_length = -7, max_running = -7; SELECT bgjob_queue('held', paused => true)});
is(value(q{SELECT concat_ws('/', max_running, max_length) FROM bgjob.queues WHERE queue = 'held'}), '', 'a change of a queue mends what was negative');
value(q{INSERT INTO bgjob_internal.function_conf (func, limits) VALUES ('public.work(pg_catalog.text,pg_catalog.text)', array_fill('smtp'::text, ARRAY[100000]))});
is(as('app', q{SELECT bgjob_enqueue('work', '["a"]')}), '22023', 'the number of limits of a configuration that was edited is checked');
value(q{UPDATE bgjob_internal.function_conf SET limits = ARRAY[NULL, 'smtp']});
is(as('app', q{SELECT bgjob_enqueue('work', '["a"]')}), '22023', 'so are its nulls');
value(q{DELETE FROM bgjob_internal.function_conf; DELETE FROM bgjob_internal.limit_conf WHERE name NOT IN ('smtp', 'tenant:*'); DELETE FROM bgjob_internal.weight_conf});

# ---- other sessions, and prepared transactions ----

my $session = $node->background_psql('postgres', on_error_stop => 0);
my $enqueue = q{SELECT bgjob_enqueue('work', '["a"]', limits => '{late}', queue => 'held') > 0};
sub answer { return $session->query($enqueue) =~ /t/ ? 'there' : 'not there' }
is(answer(), 'not there', 'a session knows that a limit is not there');
value(q{SELECT bgjob_limit('late', 1)});
is(answer(), 'there', 'it sees the limit that another session has committed');
value(q{SELECT bgjob_limit_remove('late')});
is(answer(), 'not there', 'and that it was removed');
value(q{BEGIN; SELECT bgjob_limit('late', 1); PREPARE TRANSACTION 'limit'});
is(answer(), 'not there', 'a prepared transaction adds no limit');
value(q{COMMIT PREPARED 'limit'});
is(answer(), 'there', 'until it is committed');
value(q{BEGIN; SELECT bgjob_limit_remove('late'); PREPARE TRANSACTION 'limit'});
value(q{ROLLBACK PREPARED 'limit'});
is(answer(), 'there', 'one that is rolled back removes none');
$session->query(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1});
value(q{SELECT bgjob_limit_remove('late')});
is(answer(), 'not there', 'an old snapshot does not hide that it was removed');
$session->query(q{ROLLBACK});

# ---- dumps ----

my $file = "$PostgreSQL::Test::Utils::tmp_check/limits.dump";
value(q{SELECT bgjob_limit('rated', rate => 5, per => '1 mon', algorithm => 'token_bucket', on_limit => 'delete'), bgjob_weight('tenant:*', 0.25),
	bgjob_queue('dumped', max_running => 4, max_length => 9), bgjob_recurring('kept', '@yearly', 'work', '["a"]', limits => ARRAY['tenant:{tenant}'], sequence_key => '{1}')});
my $tables = q{SELECT (SELECT string_agg(l::text, ' ' ORDER BY name) FROM bgjob_internal.limit_conf l), (SELECT string_agg(w::text, ' ') FROM bgjob_internal.weight_conf w),
	(SELECT string_agg(q::text, ' ' ORDER BY queue) FROM bgjob_internal.queue_conf q), (SELECT string_agg(concat_ws(' ', id, limits, sequence_key, fairness_key), ';' ORDER BY id) FROM bgjob.jobs),
	(SELECT concat_ws(' ', limit_places, sequence_places, limits, sequence_key) FROM bgjob_internal.recurring)};
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('postgres') ], 'pg_dump');
value('CREATE DATABASE restored');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'pg_restore');
is($node->safe_psql('restored', $tables), value($tables), 'limits, weights, queues and the options of jobs are in a dump');
is($node->safe_psql('restored', q{SELECT bgjob_adopt() > 0; SELECT bgjob_recurring('kept', args => '["b"]'); SELECT array_to_string(limits, ' ') || ' ' || sequence_key FROM bgjob.recurring_jobs}),
	"t\n\ntenant:b b", 'they are in force there');
$node->safe_psql('restored', 'DROP FUNCTION bgjob_limit(text); DROP EXTENSION bgjob CASCADE; CREATE EXTENSION bgjob');
is($node->safe_psql('restored', 'SELECT count(*) FROM bgjob_internal.limit_conf'), 0, 'the extension made anew has none');

$session->quit;

# ---- a restart gives nothing back ----

sub used { return value(q{SELECT used FROM bgjob.limits WHERE name = 'spent'}) }
value(q{SELECT bgjob_limit('spent', rate => 100, per => '1 day'), bgjob_limit_close('smtp', 'infinity')});
$id = value(q{SELECT bgjob_enqueue('SELECT bgjob_limit_used(''spent'', 44)', limits => '{spent=30}')});
is(value("SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'a job spends units');
is(used(), 44, 'they count');
for my $how ('fast', 'immediate')
{
	wait_until($node, q{SELECT count(*) = 1 FROM bgjob_internal.limit_use}, 'what was spent is saved');
	$node->stop($how);
	$node->start;
	wait_until($node, q{SELECT used = 44 FROM bgjob.limits WHERE name = 'spent'}, "it counts after a stop in mode $how", 60);
	is(value(q{SELECT closed_until FROM bgjob.limits WHERE name = 'smtp'}), 'infinity', 'a limit that an administrator has closed is closed');
}
check_counters($node);
done_testing();
