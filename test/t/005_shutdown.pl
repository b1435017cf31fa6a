# A shutdown lets short jobs end and returns long ones to the head of their queue.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use Test::More;
use Time::HiRes qw(time);

my $node = bgjob_cluster('shutdown');

# running SECONDS starts a job that sleeps for that time.
sub running
{
	my $id = $node->safe_psql('postgres', "SELECT bgjob_enqueue('pg_sleep', '[$_[0]]')");
	wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $id", "a job of $_[0] s runs");
	return $id;
}

sub stop_within
{
	my ($mode, $seconds, $what) = @_;
	my $began = time;
	$node->stop($mode);
	my $took = time - $began;
	cmp_ok($took, '<', $seconds, $what);
}

sub job
{
	my ($id, $columns) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM bgjob.jobs WHERE id = $id");
}

# A job shorter than bgjob.shutdown_timeout.
my $short = running(1);
stop_within('fast', 15, 'a fast stop waits for a short job');
configure('bgjob.enabled' => 'off');
$node->start;
is(job($short, 'state, retries, interruptions'), 'succeeded|0|0', 'the short job has succeeded');

# A job longer than bgjob.shutdown_timeout.
set_and_reload($node, 'bgjob.enabled' => 'on', 'bgjob.shutdown_timeout' => '1s');
my $long = running(600);
stop_within('fast', 15, 'a fast stop waits no longer than bgjob.shutdown_timeout');
configure('bgjob.enabled' => 'off');
$node->start;
is(job($long, 'state, retries, interruptions'), 'enqueued|0|1', 'the long job is in its queue again');
is( $node->safe_psql('postgres', "SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $long"),
	'enqueued processing enqueued',
	'its history shows the interruption');
isnt($node->safe_psql('postgres', "SELECT reason FROM bgjob.job_states WHERE job_id = $long ORDER BY seq DESC LIMIT 1"),
	'', 'the interruption has a reason');
set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, "SELECT state = 'processing' FROM bgjob.jobs WHERE id = $long", 'the long job runs again');

# An immediate stop.
stop_within('immediate', 15, 'an immediate stop');
$node->start;
wait_until($node, "SELECT state = 'processing' AND interruptions = 2 FROM bgjob.jobs WHERE id = $long",
	'after an immediate stop the job runs again');
is(job($long, 'retries'), 0, 'the job has used no retry');
is( $node->safe_psql('postgres', "SELECT string_agg(state, ' ' ORDER BY seq) FROM bgjob.job_states WHERE job_id = $long"),
	'enqueued processing enqueued processing enqueued processing',
	'its history shows all attempts');

is($node->safe_psql('postgres', "SELECT bgjob_delete($long)"), 't', 'the job can be deleted');
is($node->safe_psql('postgres', "SELECT bgjob_wait($long, '30 s')"), 'deleted', 'the job ends as deleted');
check_counters($node);
$node->stop;
done_testing();

# configure SETTING => VALUE… changes settings while the server is stopped.
sub configure
{
	my %conf = @_;
	$node->append_conf('postgresql.conf', "$_ = '$conf{$_}'") for sort keys %conf;
}
