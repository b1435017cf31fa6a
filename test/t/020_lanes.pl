# A role with thousands of queues is in nobody's way, and all of its jobs run too.
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

# More lanes than there is room for, which no server takes; then somebody else's job.
$node->safe_psql('postgres', q{SET ROLE crowd; SELECT count(bgjob_enqueue('run', jsonb_build_array(i), queue => 'q' || i)) FROM generate_series(1, 3000) i});
my $lone = $node->safe_psql('postgres', q{SET ROLE lone; SELECT bgjob_enqueue('run', '[0]')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($lone, '60 s')"), 'succeeded', 'beside 3,000 queues that nobody takes, the job of another role runs');
my $other = $node->safe_psql('other', q{SELECT bgjob_enqueue('run')});
is($node->safe_psql('other', "SELECT bgjob_wait($other, '60 s')"), 'succeeded', 'and so does one in another database');

# The scheduler does not look for room all the time. The span is what is measured.
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'bgjob scheduler' AND datname = 'postgres'});
sub ticks { open my $stat, '<', "/proc/$pid/stat" or die $!; my @f = split ' ', <$stat>; return $f[13] + $f[14]; }
my $before = ticks();
sleep(5);
cmp_ok(ticks() - $before, '<', 200, 'and the scheduler is not busy with it');

# All of them are taken now.
set_and_reload($node, 'bgjob.queues' => '*');
$lone = $node->safe_psql('postgres', q{SET ROLE lone; SELECT bgjob_enqueue('run', '[1]', queue => 'mine')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($lone, '60 s')"), 'succeeded', 'when they are taken, the other role gets its turn too');
wait_until($node, q{SELECT count(*) = 3000 AND count(DISTINCT n) = 3000 FROM ran WHERE who = 'crowd'}, 'and all 3,000 run', 120);
is($node->safe_psql('postgres', 'SELECT count(*) FROM bgjob_internal.queue'), '0', 'nothing is left');
check_counters($node);
$node->stop;
done_testing();
