# check.sh: crashes expected
# No job is counted as crashed for a fault of the server or the administrator: kill -9 of the postmaster, a PANIC in a
# commit, a copy of the data directory. A looping job does not outlive the postmaster. The table of removed jobs stays small.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('postmaster', allows_streaming => 1, restart_after_crash => 'on', 'bgjob.workers' => 4, 'bgjob.retention' => '0');
my $blamed = 'SELECT count(*) FROM bgjob_internal.job WHERE crashes > 0';
sub value { return $node->safe_psql('postgres', $_[0]) }

# bgjob_internal.total: each removal adds a row; the scheduler adds them up.
value(q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour')}) for 1;
value(q{INSERT INTO bgjob_internal.total SELECT 'k', 2 FROM generate_series(1, 5000)});
is(value('SELECT succeeded FROM bgjob.stats'), '10000', 'removed jobs count');
wait_until($node, 'SELECT count(*) < 100 FROM bgjob_internal.total', 'their rows are added up', 30);
is(value('SELECT succeeded FROM bgjob.stats'), '10000', 'to the same sum');
value('ALTER SYSTEM SET "bgjob.retention" = \'1d\'');
$node->reload;

# kill -9 of the postmaster while jobs loop: their workers exit, and no crash is counted for them.
value(q{SELECT count(bgjob_enqueue('DO $$ BEGIN FOR i IN 1 .. 2000000000 LOOP NULL; END LOOP; END $$', kind => 'sql', tags => '{loop}')) FROM generate_series(1, 2)});
value(q{SELECT count(bgjob_enqueue('SELECT pg_sleep(0.05)', kind => 'sql')) FROM generate_series(1, 200)});
wait_until($node, q{SELECT count(*) = 2 FROM bgjob.jobs WHERE state = 'processing' AND tags = '{loop}'}, 'two jobs loop');
my @pids = split /\n/, value('SELECT pid FROM bgjob.workers');
my $began = time;
$node->kill9;
until_gone($_) for @pids;
cmp_ok(time - $began, '<', 20, 'workers leave when the postmaster has died');
start_again($node);
is(value($blamed), '0', 'no crash is counted for the end of the postmaster');
value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE tags = '{loop}'});
wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')}, 'the other jobs run');

# A PANIC in the commit is not counted for the job; one that the job raises is.
value('CREATE EXTENSION crashme');
ask($node, q{SELECT bgjob_enqueue('crashme_panic', '[true]', tags => '{commit}') WHERE NOT EXISTS (SELECT FROM bgjob.jobs WHERE tags = '{commit}')});
wait_until($node, q{SELECT interruptions >= 2 FROM bgjob.jobs WHERE tags = '{commit}'}, 'a commit that cannot be written takes the server down');
is(ask($node, $blamed), '0', 'no crash is counted for the job');
set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, q{SELECT (SELECT count(*) FROM bgjob.workers) = 0 AND state = 'enqueued' FROM bgjob.jobs WHERE tags = '{commit}'}, 'the job does not run any more');
is(value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE tags = '{commit}'}), 't', 'the job can be deleted');
set_and_reload($node, 'bgjob.enabled' => 'on');
ask($node, q{SELECT bgjob_enqueue('crashme_panic', '[false]', tags => '{once}') WHERE NOT EXISTS (SELECT FROM bgjob.jobs WHERE tags = '{once}')});
wait_until($node, q{SELECT state = 'failed' FROM bgjob.jobs WHERE tags = '{once}'}, 'a job that wants a PANIC fails in the end');
like(ask($node, q{SELECT reason FROM bgjob.jobs WHERE tags = '{once}'}), qr/^Crashed the server 3 times/, 'being blamed');

# A copy of the data directory with a job in flight, on a host whose kernel has killed processes since.
value(q{SELECT bgjob_enqueue('SELECT pg_sleep(300)', kind => 'sql', tags => '{copied}')});
wait_until($node, q{SELECT state = 'processing' FROM bgjob.jobs WHERE tags = '{copied}'}, 'a job is in flight');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$node->backup('backup');
$copy->init_from_backup($node, 'backup');
$copy->start;
wait_until($copy, q{SELECT state = 'processing' FROM bgjob.jobs WHERE tags = '{copied}'}, 'the copied job runs in the copy');
is($copy->safe_psql('postgres', q{SELECT coalesce(interruptions, 0), crashes IS NULL FROM bgjob_internal.job WHERE tags = '{copied}'}), '0|t', 'the copied job has no interruption and no crash');
like(slurp_file($copy->logfile), qr/LOG:  the data directory has been copied, or comes from another machine\n.*DETAIL.*\n.*HINT:.*bgjob\.enabled/, 'the log says what the copy does');
$copy->stop('immediate');
unlike(slurp_file($node->logfile), qr/the data directory has been copied/, 'the original does not log that it is a copy');
value(q{SELECT bgjob_delete(id) FROM bgjob.jobs WHERE tags = '{copied}'});
check_counters($node);
$node->stop;
done_testing();
