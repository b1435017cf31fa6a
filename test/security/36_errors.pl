# A function reports what it cannot do, without aborting a statement that changes many jobs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('errors');
sub value { my ($query) = @_; return $node->safe_psql('postgres', $query) }
sub errors { my ($query) = @_; my ($status, $out, $err) = $node->psql('postgres', $query, on_error_stop => 0); return $err }

value(q{CREATE FUNCTION nothing() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
	CREATE FUNCTION f(context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT context';
	CREATE FUNCTION bad() RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'bad'; END$$;
	CREATE EXTENSION IF NOT EXISTS plpgsql; CREATE TABLE t (id int);
	SELECT bgjob_recurring('r', '@yearly', 'nothing'), bgjob_queue('q', group_size => 2), bgjob_filter('fi', 'created', 'f', 'none%')});

# Every function that writes names itself in a read-only transaction. (Those inside a job are elsewhere.)
my %call = (
	bgjob_enqueue           => q{'nothing'},
	bgjob_enqueue_many      => q{'nothing', '{"[]"}'},
	bgjob_delete            => q{1},
	bgjob_requeue           => q{1},
	bgjob_reschedule        => q{1, delay => '1 s'},
	bgjob_change            => q{1, priority => 1},
	bgjob_run               => q{1},
	bgjob_batch             => q{},
	bgjob_batch_cancel      => q{1},
	bgjob_batch_retry       => q{1},
	bgjob_signal            => q{'s'},
	bgjob_signal_remove     => q{'s'},
	bgjob_purge             => q{'succeeded'},
	bgjob_adopt             => q{},
	bgjob_queue             => q{'q', group_size => 3},
	bgjob_queue_pause       => q{'q'},
	bgjob_queue_resume      => q{'q'},
	bgjob_queue_remove      => q{'q'},
	bgjob_limit             => q{'l', 1},
	bgjob_limit_remove      => q{'l'},
	bgjob_weight            => q{'k', 2},
	bgjob_server            => q{'s'},
	bgjob_server_pause      => q{'s'},
	bgjob_server_resume     => q{'s'},
	bgjob_server_remove     => q{'s'},
	bgjob_limit_close       => q{'l', delay => '0'},
	bgjob_fetch             => q{'{a}', 'w'},
	bgjob_complete          => q{1, 'w'},
	bgjob_fail              => q{1, 'w', 'error'},
	bgjob_release           => q{1, 'w'},
	bgjob_heartbeat         => q{'w'},
	bgjob_external_log      => q{1, 'w', 'line'},
	bgjob_external_progress => q{1, 'w', 50},
	bgjob_configure         => q{'nothing', queue => 'q'},
	bgjob_unconfigure       => q{'nothing'},
	bgjob_recurring         => q{'r', '@daily', 'nothing'},
	bgjob_recurring_remove  => q{'r'},
	bgjob_recurring_pause   => q{'r'},
	bgjob_recurring_resume  => q{'r'},
	bgjob_recurring_trigger => q{'r'},
	bgjob_import_pg_cron    => q{},
	bgjob_filter            => q{'fi', 'created', 'f'},
	bgjob_filter_remove     => q{'fi'});
for my $function (sort keys %call)
{
	like(errors("BEGIN READ ONLY; SELECT $function($call{$function}); ROLLBACK"), qr/cannot execute \Q$function\E\(\) in a read-only transaction/,
		"$function() says that it is what cannot be executed");
}
like(errors(q{CREATE TEMP TABLE x (id int); CREATE TRIGGER x AFTER INSERT ON x FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('nothing', 'columns=');
	BEGIN READ ONLY; INSERT INTO x VALUES (1); ROLLBACK}), qr/cannot execute bgjob_enqueue_trigger\(\) in a read-only transaction/, 'the trigger function fails in a read-only transaction');
my $called = join ',', keys %call;
my $reading = q{^bgjob_(wait|result|why|list|search|failures|current_id|current_batch|antecedents|progress|log|cancel_requested|parameter|set_parameter|snooze|discard|limit_used|function_stats_reset|enqueue_trigger|await|protocol|external_deadline|cron_.*)$};
is(value(qq{SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p, pg_depend d, pg_extension e WHERE d.refobjid = e.oid AND d.objid = p.oid AND d.deptype = 'e'
		AND e.extname = 'bgjob' AND p.proname LIKE 'bgjob\\_%' AND p.proname !~ '$reading' AND p.proname <> ALL (string_to_array('$called', ','))}),
	'', 'all functions that write were tried');

# Two failed jobs of one key: one runs again, a notice reports the other, and the statement continues.
value(q{SELECT bgjob_enqueue('bad', unique_key => 'k', max_retries => 0)}) && wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE state = 'failed'}, 'a job has failed');
value(q{SELECT bgjob_enqueue('bad', unique_key => 'k', max_retries => 0)}) && wait_until($node, q{SELECT count(*) = 2 FROM bgjob.jobs WHERE state = 'failed'}, 'a second job with its key fails');
value(q{SELECT bgjob_enqueue('bad', max_retries => 0)}) && wait_until($node, q{SELECT count(*) = 3 FROM bgjob.jobs WHERE state = 'failed'}, 'a job without a key fails');
value(q{SELECT bgjob_queue_pause('default')});
my $notice = errors(q{CREATE TABLE requeued AS SELECT id, bgjob_requeue(id, 'failed') AS done FROM bgjob.jobs WHERE state = 'failed' ORDER BY id});
is(value(q{SELECT string_agg(done::text, ' ' ORDER BY id) FROM requeued}), 'true false true', 'a bulk requeue gets false for the one whose key is taken');
like($notice, qr/NOTICE:  job \d+ cannot run again because another job has its unique_key\n.*DETAIL:  Job \d+ has the key and has not finished\./, 'a notice names the job that has the key');
is(value(q{SELECT string_agg(state, ' ' ORDER BY id) FROM bgjob.jobs WHERE recurring_name IS NULL}), 'enqueued failed enqueued', 'the others are requeued');
is(value(q{SELECT bgjob_reschedule(id, delay => '1 h') FROM bgjob.jobs WHERE state = 'failed'}), 'f', 'rescheduling likewise');

# A notice reports a change that comes too late for a running job.
value(q{SELECT bgjob_queue_resume('default'), bgjob_enqueue('SELECT pg_sleep(60)', kind => 'sql', unique_key => 'runs')});
wait_until($node, q{SELECT count(*) = 1 FROM bgjob.jobs WHERE state = 'processing'}, 'a job runs');
like(errors(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', unique_key => 'runs', on_duplicate => 'replace')}), qr/NOTICE:  job \d+ is running and was not replaced\n.*DETAIL:  The new arguments and options were dropped/,
	'that it is not replaced');
like(errors(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', unique_key => 'runs', on_duplicate => 'reschedule', delay => '1 h')}), qr/NOTICE:  job \d+ is running and was not rescheduled/, 'a notice says that the running job was not rescheduled');
is(errors(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', unique_key => 'runs')}), '', 'skip says nothing');
value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE unique_key = 'runs'});

# Unknown names.
for my $case ([ q{bgjob_enqueue('VACUUM')}, q{kind => 'sql'} ], [ q{bgjob_recurring('x', '*/5 * * * *', 'CHECKPOINT')}, q{kind => 'sql'} ],
	[ q{bgjob_enqueue('SELEC 1')}, q{neither the name of a function nor a command} ], [ q{bgjob_enqueue('nothing', queue => 'Mail')}, q{character "M"} ], [ q{bgjob_enqueue('send_mail(13)')}, q{types of the arguments, not their values} ], [ q{bgjob_enqueue('nothing', queue => 'Mail')}, q{lower-case letters} ])
{
	my ($call, $says) = @$case;
	my $said = errors("SELECT $call");
	like($said, qr/\Q$says\E/, "$call says so");
	unlike($said, qr/LINE \d+:.*\n.*\^/, 'the error has no position in the statement') if $call =~ /send_mail/;
}
like(errors(q{SELECT bgjob_recurring_trigger('nope')}), qr/NOTICE:  there is no recurring job "nope"/, 'triggering what is not there returns null and says so');
like(errors(q{SELECT bgjob_queue_pause('mial')}), qr/NOTICE:  queue "mial" had no configuration/, 'pausing a queue of which nothing is known says so');
is(errors(q{SELECT bgjob_queue_resume('mial'), bgjob_queue_pause('mial'), bgjob_queue_pause('default')}), '', 'queues with jobs or a configuration give no notice');

# A history is bounded.
my $many = value(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 day')});
value(qq{DO \$\$ BEGIN FOR i IN 1..1200 LOOP PERFORM bgjob_reschedule($many, delay => '1 day'); END LOOP; PERFORM bgjob_queue_resume('default'), bgjob_requeue($many); END \$\$});
is(value(qq{SELECT bgjob_wait($many, '60 s')}), 'succeeded', 'a job that was rescheduled 1,200 times runs');
is(value(qq{SELECT count(*), count(DISTINCT seq), max(seq) FROM bgjob.job_states WHERE job_id = $many}), '1003|1003|1003', 'the history has its first 1,000 entries and those of the last state');
is(value(qq{SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $many AND seq > 1000}), 'enqueued processing succeeded', 'the history ends with the last run');

check_counters($node);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing has crashed');
done_testing();
