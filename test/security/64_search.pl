# Searching (bgjob_search, bgjob_failures) against those who want in, a greedy neighbour, size and time: hostile queries and jobs, 1 MB of query, deep paths, values
# that are slow to search, what others' jobs may give away, with a map of jobs and without one. And the record of who changes a job cannot be forged.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);

my $node = bgjob_cluster('search', 'bgjob.workers' => 4);

# as runs SQL as a role, and returns its rows, or ERROR and the SQLSTATE.
sub as
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSET SESSION AUTHORIZATION $role;\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 1);
	return $err =~ /ERROR:\s+(\w{5}):/ ? "ERROR $1" : $out;
}

# quoted returns a text as a literal of SQL.
sub quoted
{
	my $text = shift;

	$text =~ s/'/''/g;
	return "'$text'";
}

# found returns the ids that a role finds with a query, in pages of some rows and some time.
sub found
{
	my ($role, $query, $rows, $time) = @_;

	return as($role, 'SELECT tap.pages(' . quoted($query) . ", $rows, '$time')");
}

$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE boss LOGIN; GRANT app TO boss;
	GRANT USAGE ON SCHEMA bgjob TO app, other, boss;
	GRANT CREATE ON SCHEMA public TO app;
	CREATE SCHEMA tap; GRANT USAGE ON SCHEMA tap TO PUBLIC;
	CREATE FUNCTION tap.pages(query text, step int, max_time interval) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		page record;
		found bigint[] := '{}';
		looked bigint := 0;
		before bigint;
		pages int := 0;
	BEGIN
		LOOP
			SELECT * INTO page FROM public.bgjob_search(query, before, step, max_time);
			found := found || page.ids;
			looked := looked + page.looked_through;
			pages := pages + 1;
			IF page.next_before_id >= before THEN
				RAISE 'page % behind %', page, before;
			END IF;
			before := page.next_before_id;
			EXIT WHEN before IS NULL;
		END LOOP;
		RETURN format('%s of %s, pages: %s', cardinality(found), looked, pages > 1);
	END $$;
	SELECT bgjob_queue_pause('waits')});

# ---- hostile queries ----

as('app', q{SELECT bgjob_enqueue('SELECT 1', queue => 'waits', tags => '{it''s, "%", "\\"", "$1"}', unique_key => ''' OR true; --')});
is(as('app', 'SELECT cardinality(ids) FROM bgjob_search(' . quoted($_) . ')'), '0', 'nothing is found by ' . substr($_, 0, 40))
	for q{' OR true --}, q{$$; DROP SCHEMA bgjob CASCADE; --}, q{%%}, q{tag:_}, q{unique:'}, q{.*}, q{args.%:1}, q{job:"';DROP"}, "\x1b[31m", 'args."\'".0:null', '-"SELECT 1"';
is(as('app', 'SELECT cardinality(ids) FROM bgjob_search(' . quoted($_) . ')'), '1', "the job is found by $_") for q{tag:it's tag:% tag:"\"" tag:$1}, q{unique:"' OR true; --"}, '-%%';
is(as('app', "SELECT bgjob_search($_)"), 'ERROR 22023', "$_ is refused")
	for q{repeat('x', 1000000)}, q{repeat('x ', 5000)}, q{repeat('"', 8001)}, q{'args' || repeat('.a', 5000) || ':1'}, q{'id:' || repeat('1,', 5000) || '1'}, q{'--' || repeat('x', 20000)};
is(as('app', q{SELECT ids FROM bgjob_search('args' || repeat('.0', 500) || ':1')}), '{}', 'a deep path is followed as far as it goes');
is(as('app', q{SELECT cardinality(ids) FROM bgjob_search(repeat('-', 16384))}), '1', 'a long word is no word of the job');

# ---- hostile names: nothing of the caller's search_path is called ----

$node->safe_psql('postgres', q{CREATE SCHEMA trap AUTHORIZATION app;
	CREATE FUNCTION trap.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
	CREATE FUNCTION trap.trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
	CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
	CREATE FUNCTION trap.bgjob_list() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
	CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.trap);
	CREATE OPERATOR trap.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.trap);
	CREATE DOMAIN trap.text AS int; CREATE DOMAIN trap.jsonb AS int});
is($node->safe_psql('postgres', q{SET search_path = trap, pg_catalog, public; SELECT pg_catalog.cardinality(ids) FROM public.bgjob_search('job:"SELECT 1" role:app state:enqueued SELECT queue:waits')}), '1',
	'a superuser with a hostile search_path calls nothing of it');
is($node->safe_psql('postgres', q{SET search_path = trap, pg_catalog, public; SELECT count(*) FROM public.bgjob_failures()}), '0', 'nor for groups of failures');

# ---- jobs that are slow, large, or odd ----

as('app', q{SELECT bgjob_enqueue('remote', kind => 'external', queue => 'waits', args => to_jsonb(ARRAY[repeat('a', 250000)])) FROM generate_series(1, 100)
	UNION ALL SELECT bgjob_enqueue('remote', kind => 'external', queue => 'waits', args => to_jsonb(ARRAY[repeat('long ', 2000000)]), tags => '{large}')
	UNION ALL SELECT bgjob_enqueue('remote', kind => 'external', queue => 'waits', args => (repeat('[', 1000) || '"deep"' || repeat(']', 1000))::jsonb, tags => '{deep}')
	UNION ALL SELECT bgjob_enqueue('remote', kind => 'external', queue => 'waits', args => '[1e1000, -1e-1000, "\u00e9\u0130\u212a"]', tags => '{odd}')});
is(as('app', q{SELECT count(*) FROM bgjob_search('queue:waits', max_rows => 200) s, unnest(s.ids)}), '104', 'there are jobs that are hard to search');
is(as('app', "SELECT cardinality(ids) FROM bgjob_search(repeat('a', $_) || 'b', max_time => '10 min')"), '0', "a word of $_ letters that nearly matches everywhere is not found") for 31, 1000, 16000;
is(as('app', "SELECT cardinality(ids) FROM bgjob_search(repeat('a', 16000), max_rows => 1000, max_time => '10 min')"), '100', 'one that does is found');
is(as('app', q{SELECT cardinality(ids) FROM bgjob_search('long', max_time => '10 min')}), '0', 'in a value of 10 MB no words are looked for');
is(as('app', q{SELECT cardinality(ids) FROM bgjob_search('tag:large args.0:x', max_time => '10 min')}), '0', 'but it is compared as a whole');
is(as('app', q{SELECT cardinality(ids) FROM bgjob_search('args' || repeat('.0', 255) || ':deep')}), '0', 'a path that ends too early finds nothing');
is(as('app', q{SELECT cardinality(ids) FROM bgjob_search('deep tag:deep')}), '1', 'a word in the depth is found');
is(as('app', q{SELECT cardinality(ids) FROM bgjob_search('args.0:1e1000 args.1:-1e-1000')}), '1', 'extreme numbers are compared exactly');
is(as('app', q{SET statement_timeout = '20 ms'; SELECT bgjob_search(repeat('é', 5), max_time => '10 min') FROM generate_series(1, 1000)}), 'ERROR 57014', 'a long search can be canceled');
is(as('app', q{SELECT looked_through BETWEEN 1 AND 104 AND next_before_id IS NOT NULL FROM bgjob_search('nowhere', max_time => '0')}), 't', 'a search without time does a little');
is(found('app', 'nowhere', 5, '0'), '0 of 104, pages: t', 'which is enough to come to the end');

# ---- what others have ----

$node->safe_psql('postgres', q{
	CREATE PROCEDURE tap.enqueue() LANGUAGE plpgsql AS $$BEGIN
		FOR i IN 1 .. 20 LOOP
			PERFORM public.bgjob_enqueue_many('SELECT 7', array_fill(NULL::jsonb, ARRAY[1000]), queue => 'waits', run_as => 'other', tags => '{theirs}');
			PERFORM public.bgjob_enqueue('SELECT 6', queue => 'waits', run_as => 'app', tags => '{mine}');
			COMMIT;
		END LOOP;
	END $$;
	CALL tap.enqueue()});

# seen checks what a role that has 124 of 20,124 jobs finds, in pages of different sizes.
sub seen
{
	my $with = shift;

	for my $time ('0', '10 min')
	{
		for my $rows (3, 10000)
		{
			is(found('app', '', $rows, $time) =~ s/pages: \w/pages/r, '124 of 124, pages', "$with: a role finds its own jobs among those of others, $rows rows and $time at a time");
			is(found('app', 'SELECT 7', $rows, $time) =~ s/pages: \w/pages/r, '0 of 124, pages', "$with: and none of the others'");
		}
	}
	is(found('app', 'tag:theirs', 10, '10 min') =~ s/ of \d+, pages: \w//r, '0', "$with: nor by a tag that all of those have");
	is(found('app', 'role:other', 10, '10 min') =~ s/ of \d+, pages: \w//r, '0', "$with: nor by their role");
	is(as('boss', q{SELECT cardinality(ids), next_before_id IS NULL FROM bgjob_search('', max_rows => 1000, max_time => '10 min')}), '124|t', "$with: a member of the role finds the same");
	is(as('app', q{SELECT string_agg(s::text, ' ') FROM generate_series(20124, 1, -61) before, bgjob_search('nowhere', before, 10, '0') s WHERE s.next_before_id % 256 <> 0
		AND NOT EXISTS (SELECT FROM bgjob.jobs j WHERE j.id = s.next_before_id)}), '', "$with: where a search stops is one of its own jobs, or says nothing");
}
seen('with the map');
$node->append_conf('postgresql.conf', 'bgjob.list_memory = 0');
$node->restart;
seen('without it');
is(as('other', q{SELECT cardinality(ids) FROM bgjob_search('tag:theirs', max_rows => 10000, max_time => '10 min')}), '10000', 'the other role finds its own');
$node->append_conf('postgresql.conf', "bgjob.list_memory = '32MB'");
$node->restart;

# ---- failures that are meant to be one another's, or to be many ----

$node->safe_psql('postgres', q{CREATE FUNCTION raises(message text) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE '%', message; END$$});
as('app', q{SELECT bgjob_enqueue('raises', jsonb_build_array(m), max_retries => 0)
	FROM unnest(ARRAY['', repeat('"', 100000), repeat('x', 100000), repeat('€', 8000), E'two\nlines "of', '''; --', '%s %n', repeat('1', 100000)]) m});
as('app', q{SELECT bgjob_enqueue('raises', jsonb_build_array(translate(md5(i::text), '0123456789', 'ghijklmnop')), max_retries => 0) FROM generate_series(1, 1000) i});
wait_until($node, q{SELECT count(*) = 1008 FROM bgjob.jobs WHERE state = 'failed'}, 'all have failed', 180);
is(as('app', q{SELECT count(*), sum(jobs), bool_and(complete), max(octet_length(message)) < 400, max(octet_length(sample)) <= 1000 FROM bgjob_failures(max_time => '10 min')}), '1008|1008|t|t|t',
	'a thousand groups are a thousand rows, whose messages are short');
is(as('app', q{SELECT count(*) FROM bgjob_failures(max_time => '10 min') f, bgjob_search(f.query, max_time => '10 min') s WHERE s.ids IS DISTINCT FROM ARRAY[f.sample_id] AND f.message !~ '^x|€'}), '0',
	'each is selected by its query');
is(as('other', q{SELECT count(*) FROM bgjob_failures(max_time => '10 min')}), '0', 'others see none of them');

# ---- the record of who did it ----

my $mine = as('app', q{SELECT bgjob_enqueue('SELECT 8', queue => 'waits')});
as('app', "SELECT bgjob_delete($mine, reason => E'\\nDeleted by role \"postgres\"')");
is(as('app', "SELECT starts_with(reason, E'Deleted by role \"app\": \\n') FROM bgjob.jobs WHERE id = $mine"), 't', 'a role cannot say that it was another one');
as('boss', "SELECT bgjob_requeue($mine, reason => repeat('🎈', 2500000))");
is(as('app', "SELECT reason ~ '^Requeued by role \"boss\": 🎈+\$' AND octet_length(reason) BETWEEN 8180 AND 8192 FROM bgjob.jobs WHERE id = $mine"), 't', '10 MB of reason are cut, never within a character');
is(as('other', "SELECT bgjob_delete($mine, reason => 'x')"), 'ERROR 42501', 'a role without the right gets an error');
$node->safe_psql('postgres', 'CREATE ROLE "a "": b" LOGIN SUPERUSER');
as('"a "": b"', "SELECT bgjob_delete($mine)");
is(as('app', "SELECT reason FROM bgjob.jobs WHERE id = $mine"), 'Deleted by role "a ": b"', 'an odd name is shown as it is');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)/, 'nothing has crashed');
check_counters($node);
$node->stop;
done_testing();
