# A role with thousands of queues delays no other role, and all of its jobs run.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use Time::HiRes qw(sleep);
use BgjobTest;

my $node = bgjob_cluster('lanes', 'bgjob.queues' => 'default');
$node->safe_psql('postgres', q{
	CREATE ROLE crowd LOGIN;
	CREATE ROLE lone LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO crowd, lone;
	CREATE TABLE ran (who text, n int);
	GRANT INSERT ON ran TO PUBLIC;
	CREATE FUNCTION run(n int) RETURNS void LANGUAGE plpgsql AS $$BEGIN INSERT INTO ran VALUES (current_user, n); END$$;
	CREATE DATABASE other;
});
$node->safe_psql('other', q{
	CREATE EXTENSION bgjob;
	CREATE FUNCTION run() RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
});

# More lanes than fit, in queues that no worker takes; then a job of another role.
$node->safe_psql('postgres', q{SET ROLE crowd; SELECT count(bgjob_enqueue('run', jsonb_build_array(i), queue => 'q' || i)) FROM generate_series(1, 3000) i});
my $lone = $node->safe_psql('postgres', q{SET ROLE lone; SELECT bgjob_enqueue('run', '[0]')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($lone, '60 s')"), 'succeeded', 'beside 3,000 queues that no worker takes, the job of another role runs');
my $other = $node->safe_psql('other', q{SELECT bgjob_enqueue('run')});
is($node->safe_psql('other', "SELECT bgjob_wait($other, '60 s')"), 'succeeded', 'a job in another database runs');

# The scheduler does not use CPU time meanwhile.
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});
sub ticks { open my $stat, '<', "/proc/$pid/stat" or die $!; my @f = split ' ', <$stat>; return $f[13] + $f[14]; }
my $before = ticks();
sleep(5);
cmp_ok(ticks() - $before, '<', 200, 'the scheduler is idle meanwhile');

# Now workers take all queues.
set_and_reload($node, 'bgjob.queues' => '*');
$lone = $node->safe_psql('postgres', q{SET ROLE lone; SELECT bgjob_enqueue('run', '[1]', queue => 'mine')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($lone, '60 s')"), 'succeeded', 'when workers take them, the job of the other role runs');
wait_until($node, q{SELECT count(*) = 3000 AND count(DISTINCT n) = 3000 FROM ran WHERE who = 'crowd'}, 'and all 3,000 run', 120);
is($node->safe_psql('postgres', 'SELECT count(*) FROM bgjob_internal.queue'), '0', 'the queue is empty');
check_counters($node);
$node->stop;
done_testing();
