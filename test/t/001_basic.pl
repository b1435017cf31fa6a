# A job exists if and only if the transaction that enqueued it commits, also by COMMIT PREPARED.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('basic');
$node->safe_psql('postgres', q{
	CREATE TABLE ran (label text);
	CREATE FUNCTION run(label text) RETURNS void LANGUAGE sql AS 'INSERT INTO ran VALUES (label)';
});

$node->safe_psql('postgres', q{SELECT bgjob_enqueue('run', '["committed"]')});
wait_until($node, q{SELECT count(*) = 1 FROM ran WHERE label = 'committed'}, 'a committed job runs');

$node->safe_psql('postgres', q{
	BEGIN; SELECT bgjob_enqueue('run', '["rolled back"]'); ROLLBACK;
	BEGIN; SAVEPOINT s; SELECT bgjob_enqueue('run', '["savepoint"]'); ROLLBACK TO s; SELECT bgjob_enqueue('run', '["after savepoint"]'); COMMIT;
});
wait_until($node, q{SELECT count(*) = 1 FROM ran WHERE label = 'after savepoint'}, 'a job after a savepoint that was rolled back runs');
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE args->>0 IN ('rolled back', 'savepoint')}), '0',
	'jobs rolled back never existed');

$node->safe_psql('postgres', q{
	BEGIN; SELECT bgjob_enqueue('run', '["prepared"]'); PREPARE TRANSACTION 'one';
	BEGIN; SELECT bgjob_enqueue('run', '["never"]'); PREPARE TRANSACTION 'two';
	BEGIN; SELECT bgjob_enqueue('run', '["after restart"]'); PREPARE TRANSACTION 'three';
	BEGIN; SELECT bgjob_enqueue('run', '["delayed"]', delay => '50 ms'); PREPARE TRANSACTION 'four';
});
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE args->>0 IN ('prepared', 'never')}), '0',
	'the job of a prepared transaction is not visible yet');
$node->safe_psql('postgres', q{COMMIT PREPARED 'one'});
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'two'});
$node->safe_psql('postgres', q{COMMIT PREPARED 'four'});
wait_until($node, q{SELECT count(*) = 1 FROM ran WHERE label = 'prepared'}, 'COMMIT PREPARED: it runs', 5);
wait_until($node, q{SELECT count(*) = 1 FROM ran WHERE label = 'delayed'}, 'also one with a delay', 5);

$node->restart;
is($node->safe_psql('postgres', q{SELECT count(*) FROM ran WHERE label = 'after restart'}), '0', 'after a restart the transaction is still prepared');
$node->safe_psql('postgres', q{COMMIT PREPARED 'three'});
wait_until($node, q{SELECT count(*) = 1 FROM ran WHERE label = 'after restart'}, 'COMMIT PREPARED after a restart: the job runs');
is($node->safe_psql('postgres', q{SELECT count(*) FROM ran WHERE label = 'never'}), '0', 'ROLLBACK PREPARED: the job never runs');
wait_until($node, q{SELECT succeeded = (SELECT count(*) FROM bgjob.jobs WHERE state = 'succeeded') AND enqueued = 0 FROM bgjob.stats},
	'the statistics count all jobs');

# Another session locks a job's row in the queue.
$node->safe_psql('postgres', q{ALTER SYSTEM SET bgjob.enabled = off});
$node->reload;
wait_until($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ '^bgjob (worker|scheduler)'}, 'no worker and no scheduler is left');
$node->safe_psql('postgres', q{SELECT bgjob_enqueue('run', '["held"]')});
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; SELECT * FROM bgjob_internal.queue FOR UPDATE');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET bgjob.enabled});
$node->reload;
$node->safe_psql('postgres', q{SELECT bgjob_enqueue('run', '["beside"]')});
wait_until($node, q{SELECT count(*) = 1 FROM ran WHERE label = 'beside'}, 'a row that another session has locked delays no other job');
$holder->query_safe('COMMIT');
wait_until($node, q{SELECT count(*) = 1 FROM ran WHERE label = 'held'}, 'the job of the locked row runs after the lock is released');
$holder->quit;
check_counters($node);
$node->stop;
done_testing();
