# Texts of any length are cut where they are shown, never within a character: reasons, errors, the activity of the
# worker, the context of its messages, progress.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;
use PostgreSQL::Test::Utils qw(slurp_file);

my $node = bgjob_cluster('texts', 'bgjob.workers' => 4);
is($node->safe_psql('postgres', 'SHOW server_encoding'), 'UTF8', 'the database has characters of several bytes');
$node->safe_psql('postgres', q{CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA bgjob TO app;
	CREATE FUNCTION large() RETURNS text LANGUAGE sql AS $$SELECT repeat('x', 3) || repeat('🎈', 2500000)$$;
	CREATE FUNCTION hugeerr() RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION USING message = public.large(), detail = large(), hint = large(); END$$;
	CREATE FUNCTION gone(n int) RETURNS void LANGUAGE plpgsql AS $$BEGIN PERFORM bgjob_progress(1, repeat('x', n) || repeat('🎈', 100)); PERFORM bgjob_discard(repeat('x', n) || public.large()); END$$;
	CREATE FUNCTION refuses(context jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('cancel', public.large())$$});

my $wide = q{length(reason) <= 8192 AND octet_length(reason) BETWEEN 8100 AND 8192 AND right(reason, 1) = '🎈'};

# ---- reasons and errors ----

my $failed = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('hugeerr', max_retries => 0)});
my $retried = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('hugeerr')});
my @gone = map { $node->safe_psql('postgres', "SELECT bgjob_enqueue('gone', '[$_]')") } 0 .. 3;
is($node->safe_psql('postgres', "SELECT bgjob_wait($failed, '60 s')"), 'failed', 'a job fails with 10 MB of message, detail and hint');
is($node->safe_psql('postgres', "SELECT $wide FROM bgjob.jobs WHERE id = $failed"), 't', 'the reason of the failed job is cut');
is($node->safe_psql('postgres', "SELECT bool_and(octet_length(error ->> k) <= 8192 AND error ->> k ~ '🎈\$') FROM bgjob.jobs, unnest('{message,detail,hint}'::text[]) k WHERE id = $failed"), 't',
	'each part of the error is cut');
for my $id (@gone)
{
	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'deleted', 'a job is discarded with 10 MB of reason');
	is($node->safe_psql('postgres', "SELECT $wide FROM bgjob.jobs WHERE id = $id"), 't', 'the reason of the discarded job is cut');
}
wait_until($node, "SELECT state = 'scheduled' FROM bgjob.jobs WHERE id = $retried", 'a job waits for its retry', 30);
is($node->safe_psql('postgres', "SELECT octet_length(reason) <= 8192 FROM bgjob.jobs WHERE id = $retried"), 't', 'why it does is cut');
is($node->safe_psql('postgres', q{SELECT max(octet_length(reason)) <= 8192 AND max(length(data::text)) < 40000 FROM bgjob.job_states}), 't', 'reasons and errors in the histories are cut');
is($node->safe_psql('postgres', q{SELECT max(octet_length(progress_message)) <= 255 FROM bgjob.jobs}), 't', 'progress is cut');

# What a filter says.
$node->safe_psql('postgres', q{SELECT bgjob_filter('refuses', 'performing', 'refuses', '%2 + 2%')});
my $refused = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 2 + 2', kind => 'sql')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($refused, '60 s')"), 'deleted', 'a filter refuses a job with 10 MB');
is($node->safe_psql('postgres', "SELECT octet_length(reason) <= 8192 FROM bgjob.jobs WHERE id = $refused"), 't', 'the reason of the refused job is cut');
$node->safe_psql('postgres', q{SELECT bgjob_filter_remove('refuses')});

# ---- the worker's activity ----

my $running = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app;
	SELECT string_agg(bgjob_enqueue('SELECT pg_sleep(30) /* ' || repeat('x', n) || repeat('🎈', 200) || ' */', kind => 'sql')::text, ',') FROM generate_series(0, 3) n});
wait_until($node, q{SELECT count(*) = 4 FROM pg_stat_activity WHERE query LIKE 'job %: SELECT pg_sleep%'}, 'four jobs with long commands run', 30);
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'job %' AND left(query, 300) ~ '🎈$' AND octet_length(query) BETWEEN 250 AND 290}), '4',
	'their activity is cut between characters');
is($node->safe_psql('postgres', "SELECT bool_and(bgjob_delete(id)) FROM unnest('{$running}'::bigint[]) id"), 't', 'the jobs with long texts are deleted');
my $log = -s $node->logfile;
my $long = $node->safe_psql('postgres', q{SET SESSION AUTHORIZATION app; SELECT bgjob_enqueue('SELECT 1/0 /* ' || repeat('🎈', 1000000) || ' */', kind => 'sql', max_retries => 0)});
is($node->safe_psql('postgres', "SELECT bgjob_wait($long, '60 s')"), 'failed', 'a command of 4 MB fails');
is($node->safe_psql('postgres', "SELECT length(job) > 1000000 FROM bgjob.jobs WHERE id = $long"), 't', 'bgjob.jobs shows the whole command');
my $text = substr(slurp_file($node->logfile), $log);
my ($line) = $text =~ /(CONTEXT:[^\n]*bgjob job $long[^\n]*)/;
ok(defined $line && length($line) < 600, 'the command in the context of the error is cut') or diag(substr($text, 0, 2000));

# ---- what is refused because nothing could hold it ----

for my $case (q{bgjob_enqueue('hugeerr', unique_key => repeat('k', 1001))}, q{bgjob_enqueue('hugeerr', unique_key => repeat('ä', 501))}, q{bgjob_enqueue('hugeerr', queue => repeat('q', 64))},
	q{bgjob_queue(repeat('q', 64))}, q{bgjob_recurring(repeat('n', 201), '@daily', 'hugeerr')}, q{bgjob_filter(repeat('n', 1000), 'created', 'refuses')})
{
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $case;", stdout => \$out, stderr => \$err, on_error_stop => 0);
	like($err, qr/ERROR:\s+22023/, "$case is refused");
}
is($node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 3', kind => 'sql', unique_key => (SELECT string_agg(md5(i::text), '') || 'x' FROM generate_series(1, 31) i)) > 0}), 't',
	'the longest key, which cannot be compressed, has room');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal (?:6|11)/, 'nothing has crashed');
check_counters($node);
$node->stop;
done_testing();
