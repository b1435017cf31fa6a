# Values of any size: toasted values can be read everywhere, in new and in old workers, and are removed with their
# row.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use BgjobTest;

# One worker for each kind of queue, so that all jobs but the first run in a warm worker.
my $node = bgjob_cluster('large', 'bgjob.workers' => 1, 'bgjob.retention' => '1h');
$node->safe_psql('postgres', q{
	-- does not compress, so it is stored out of line
	CREATE FUNCTION big(n int) RETURNS text LANGUAGE sql AS $$ SELECT left(string_agg(md5(random()::text), ''), n) FROM generate_series(1, n / 32 + 1) $$;
	CREATE FUNCTION len(a text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN length(a) || a; END $$;
	CREATE FUNCTION fails(a text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no: %', a; END $$;
	CREATE PROCEDURE proc(a text) LANGUAGE plpgsql AS $$ BEGIN COMMIT; PERFORM bgjob_set_parameter('length', to_jsonb(length(a))); END $$;
	CREATE FUNCTION inside(a text) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM bgjob_set_parameter('mine', to_jsonb(a || bgjob_parameter('given')));
		PERFORM bgjob_log(a);
		PERFORM bgjob_progress(50, left(a, 1000));
		RETURN length(bgjob_parameter('mine') #>> '{}');
	END $$;
	CREATE FUNCTION once_more(a text) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		IF bgjob_parameter('tried') IS NULL AND length(a) > 0 AND (SELECT retries = 0 FROM bgjob.jobs WHERE id = bgjob_current_id()) THEN
			RAISE EXCEPTION 'not yet: %', a;
		END IF;
		RETURN length(a);
	END $$;
	CREATE FUNCTION setting() RETURNS int LANGUAGE sql AS $$ SELECT length(current_setting('big.one')) $$;
	CREATE TABLE made (name text, id bigint);
	SELECT bgjob_configure('once_more', retry_delays => '{0.1 s}', parameters => jsonb_build_object('policy', big(10000)), tags => ARRAY[big(3000)]);
	SELECT bgjob_queue('group', group_size => 50);
});

# run_all QUEUE enqueues one of each kind and waits for them.
sub run_all
{
	my ($queue) = @_;

	$node->safe_psql('postgres', qq{
		SET big.one = '';
		SELECT set_config('big.one', big(10000), false);
		INSERT INTO made
			SELECT 'setting', bgjob_enqueue('setting', queue => '$queue')
			UNION ALL SELECT 'len', bgjob_enqueue('len', jsonb_build_array(big(10000)), queue => '$queue')
			UNION ALL SELECT 'huge', bgjob_enqueue('len', jsonb_build_array(big(10000000)), queue => '$queue')
			UNION ALL SELECT 'fails', bgjob_enqueue('fails', jsonb_build_array(big(10000)), max_retries => 0, queue => '$queue')
			UNION ALL SELECT 'proc', bgjob_enqueue('proc', jsonb_build_array(big(10000)), queue => '$queue')
			UNION ALL SELECT 'sql', bgjob_enqueue('SELECT length(\$1) /* ' || big(10000) || ' */', jsonb_build_array(big(10000)), kind => 'sql', queue => '$queue')
			UNION ALL SELECT 'inside', bgjob_enqueue('inside', jsonb_build_array(big(10000)), parameters => jsonb_build_object('given', big(10000)), tags => ARRAY[big(5000)], queue => '$queue')
			UNION ALL SELECT 'once more', bgjob_enqueue('once_more', jsonb_build_array(big(10000)), queue => '$queue')
			UNION ALL SELECT 'replaced', bgjob_enqueue('len', jsonb_build_array(big(10000)), unique_key => '$queue', delay => '1 h', queue => '$queue')});
	$node->safe_psql('postgres', qq{
		SELECT bgjob_enqueue('len', jsonb_build_array(big(20000)), unique_key => '$queue', on_duplicate => 'replace', queue => '$queue', parameters => jsonb_build_object('x', big(10000)))});
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs JOIN made USING (id) WHERE state NOT IN ('succeeded', 'failed')}, "the jobs end ($queue)", 60);
}

for my $round (1 .. 2)
{
	for my $queue ('single', 'group')
	{
		run_all($queue);
		is( $node->safe_psql('postgres', q{
				SELECT string_agg(name || ' ' || state || ' ' || coalesce(CASE WHEN length(result #>> '{}') > 100 THEN length(result #>> '{}')::text ELSE result #>> '{}' END, '-')
					|| ' ' || coalesce(left(error ->> 'message', 4), '-') || ' ' || coalesce(length(parameters ->> 'mine')::text, '-'), E'\n' ORDER BY name)
				FROM bgjob.jobs JOIN made USING (id)}),
			join("\n",
				'fails failed - no:  -', 'huge succeeded 10000008 - -', 'inside succeeded 20002 - 20002', 'len succeeded 10005 - -', 'once more succeeded 10000 - -',
				'proc succeeded - - -', 'replaced succeeded 20005 - -', 'setting succeeded 10000 - -', 'sql succeeded [{"length": 10000}] - -'),
			"each has read its values ($queue, round $round)");
		is($node->safe_psql('postgres', q{SELECT length(bgjob_result(id) #>> '{}') FROM made WHERE name = 'huge'}), 10000008, 'bgjob_result()');

		# once more, by hand, from each state
		$node->safe_psql('postgres', q{SELECT bgjob_requeue(id) FROM made});
		wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs JOIN made USING (id) WHERE state NOT IN ('succeeded', 'failed')}, "they end once more ($queue)", 60);
		is($node->safe_psql('postgres', q{SELECT string_agg(name, ' ') FROM bgjob.jobs JOIN made USING (id) WHERE state = 'failed'}), 'fails', 'the same recurring job fails as before');
		is($node->safe_psql('postgres', q{SELECT count(*) FROM made WHERE bgjob_reschedule(id, delay => '1 h')}), 9, 'the jobs with large values can be rescheduled');
		is($node->safe_psql('postgres', q{SELECT count(*) FROM made WHERE bgjob_delete(id)}), 9, 'the jobs with large values can be deleted');
		$node->safe_psql('postgres', q{SELECT bgjob_purge('deleted'); TRUNCATE made});
	}
}

# ---- filters and recurring jobs ----

$node->safe_psql('postgres', q{
	CREATE FUNCTION watch(c jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN c::text = 'x' THEN '{}'::jsonb END; END $$;
	SELECT bgjob_filter('on ' || e, e, 'watch') FROM unnest('{created,performing,performed,electing,applied,unapplied}'::text[]) e;
	SELECT bgjob_recurring('ticks', '@every_second', 'len', jsonb_build_array(big(10000)), parameters => jsonb_build_object('given', big(10000)), tags => ARRAY[big(5000)]);
	INSERT INTO made SELECT 'filtered', bgjob_enqueue('inside', jsonb_build_array(big(10000)), parameters => jsonb_build_object('given', big(10000)));
	INSERT INTO made SELECT 'retried', bgjob_enqueue('once_more', jsonb_build_array(big(10000)));
});
wait_until($node, q{SELECT count(*) = 2 FROM bgjob.jobs JOIN made USING (id) WHERE state = 'succeeded'}, 'jobs with filters', 60);
wait_until($node, q{SELECT count(*) >= 3 FROM bgjob.jobs WHERE recurring_name = 'ticks' AND state = 'succeeded'}, 'recurring jobs with large arguments', 60);
is($node->safe_psql('postgres', q{SELECT coalesce(error, '-') FROM bgjob.recurring_jobs}), '-', 'the recurring job shows no error');
$node->safe_psql('postgres', q{SELECT bgjob_recurring_trigger('ticks')});
$node->safe_psql('postgres', q{SELECT bgjob_recurring('ticks', '@daily', 'len', jsonb_build_array(big(12000)))});
$node->safe_psql('postgres', q{SELECT bgjob_recurring_remove('ticks')});
$node->safe_psql('postgres', q{SELECT bgjob_filter_remove(name) FROM bgjob_internal.filter});
wait_until($node, q{SELECT enqueued + processing = 0 FROM bgjob.stats}, 'nothing is left', 30);

# ---- removed with their rows, by the scheduler too ----

set_and_reload($node, 'bgjob.retention' => '1s', 'bgjob.retention_failed' => '1s');
wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs}, 'jobs with large values expire', 60);
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'bgjob_internal' AND relname = 'job'
		AND (SELECT count(*) FROM (SELECT query_to_xml('SELECT 1 FROM ' || reltoastrelid::regclass || ' LIMIT 1', false, true, '') x) t WHERE x::text <> '') > 0}),
	0, 'no large value is left after the purge');

my $log = slurp_file($node->logfile);
unlike($log, qr{cannot fetch toast|missing chunk}, 'no complaint in the log');
check_counters($node);
$node->stop;
done_testing();
