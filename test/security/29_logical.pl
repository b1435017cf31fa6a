# A logical subscriber of all tables runs none of the publisher's jobs. Its own jobs never stop the subscription. After
# bgjob_adopt() the rows are its own.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('logical', wal_level => 'logical', max_wal_senders => 10, max_replication_slots => 10);
foreach my $db ('source', 'target', 'migrated')
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, qq{CREATE EXTENSION bgjob; CREATE TABLE orders (id int PRIMARY KEY);
		CREATE FUNCTION tick() RETURNS void LANGUAGE sql AS \$\$ SELECT \$\$});
}
source('CREATE PUBLICATION everything FOR ALL TABLES');
subscribe('target', 'migrated');

# The publisher's recurring jobs are updated each time that they run; its jobs come and go.
source(q{SELECT bgjob_recurring('tick', '@every_second', 'tick')});
source(q{SELECT bgjob_queue('mail', group_size => 5), bgjob_server('s', '{s}', 1); SELECT bgjob_enqueue('tick', queue => 'mail', unique_key => 'one', delay => '1 hour')});
source(q{SELECT bgjob_enqueue('SELECT 1/0', kind => 'sql', max_retries => 0)});
wait_until($node, q{SELECT count(*) >= 3 FROM bgjob.jobs WHERE recurring_name = 'tick' AND state = 'succeeded'}, 'the publisher performs recurring jobs', 60, 'source');
arrive(1, 'target', 'migrated');
foreach my $db ('target', 'migrated')
{
	is($node->safe_psql($db, q{SELECT next_at FROM bgjob_internal.recurring}), 'infinity', "$db: the recurring job does nothing");
	is($node->safe_psql($db, q{SELECT count(*) FROM bgjob_internal.queue}), '0', "$db: nothing is ready");
	is($node->safe_psql($db, q{SELECT count(*) FROM bgjob_internal.queue_conf}), '0', "$db: no queue is configured");
	is($node->safe_psql($db, q{SELECT count(*) FROM bgjob_internal.server_conf}), '0', "$db: no server is configured");
}
cmp_ok($node->safe_psql('target', 'SELECT count(*) FROM bgjob.jobs'), '>', 3, 'the jobs are there');
# The map of jobs knows what is applied, before and after it has begun.
my $listed = q{SELECT ARRAY(SELECT id FROM bgjob_list(max_rows => 10000)) = ARRAY(SELECT id FROM bgjob.jobs ORDER BY id DESC)};
is($node->safe_psql('target', $listed), 't', 'bgjob_list() lists them');

is($node->safe_psql('target', q{SELECT count(*) FROM bgjob.jobs WHERE state = 'scheduled'}), $node->safe_psql('target', q{SELECT count(*) FROM bgjob.jobs WHERE state || '' = 'scheduled'}),
	'a condition on the state finds jobs that are in no other table');
cmp_ok($node->safe_psql('target', q{SELECT count(*) FROM bgjob.jobs WHERE state = 'scheduled'}), '>=', 1, 'there is such a job');

# Jobs of the subscriber's own, of the same queue and key.
my $own = $node->safe_psql('target', q{SELECT bgjob_queue('mail', group_size => 7); SELECT bgjob_enqueue('tick', queue => 'mail', unique_key => 'two')});
($own) = $own =~ /(\d+)$/;
is($node->safe_psql('target', "SELECT bgjob_wait($own, '60 s')"), 'succeeded', 'the subscriber has a job of its own');
my $theirs = source(q{SELECT max(id) + 1 FROM bgjob.jobs});
source(q{SELECT count(bgjob_enqueue('tick', unique_key => 'two', delay => '1 hour')) FROM generate_series(1, 2); SELECT count(bgjob_enqueue('tick')) FROM generate_series(1, 500); SELECT bgjob_queue('mail', group_size => 8)});
wait_until($node, q{SELECT count(*) >= 500 FROM bgjob.jobs WHERE state = 'succeeded'}, 'the publisher goes on', 60, 'source');
source(q{SELECT bgjob_purge('succeeded') > 0});
arrive(2, 'target', 'migrated');
is($node->safe_psql($_, $listed), 't', "bgjob_list() lists all jobs of $_") for 'target', 'migrated';
is($node->safe_psql('target', "SELECT state FROM bgjob.jobs WHERE id = $own"), 'succeeded', "the subscriber's job is as it was");
is($node->safe_psql('target', "SELECT group_size FROM bgjob.queues WHERE queue = 'mail'"), '7', 'the queue of the subscriber is unchanged');
unlike(slurp_file($node->logfile), qr/ERROR:  duplicate key/, 'nothing has stopped the subscriptions');

# A migration: the subscription ends, and all is taken over.
source(q{SELECT bgjob_recurring_pause('tick')});
arrive(3, 'target', 'migrated');
$node->safe_psql($_, 'DROP SUBSCRIPTION ' . $_) for 'target', 'migrated';
cmp_ok($node->safe_psql('migrated', 'SELECT bgjob_adopt()'), '>=', 2, 'the waiting jobs are adopted');
my $new = $node->safe_psql('migrated', q{SELECT bgjob_enqueue('tick')});
cmp_ok($new, '>', $node->safe_psql('migrated', "SELECT max(id) FROM bgjob.jobs WHERE id <> $new"), 'a new job gets a new id');
is($node->safe_psql('migrated', "SELECT bgjob_wait($new, '60 s')"), 'succeeded', 'the new job runs');

# Ids that a sequence does not know of, as when the triggers were disabled meanwhile.
$node->safe_psql('migrated', 'SELECT setval(\'bgjob_internal.job_id_seq\', 1); SELECT bgjob_adopt()');
$new = $node->safe_psql('migrated', q{SELECT bgjob_enqueue('tick')});
is($node->safe_psql('migrated', "SELECT bgjob_wait($new, '60 s')"), 'succeeded', 'bgjob_adopt() moves the sequence beyond what is there');
check_counters($node, $_) for 'source', 'migrated';
$node->stop;
done_testing();

sub source { return $node->safe_psql('source', $_[0]) }

# subscribe DATABASE… has them subscribe to the source, which is in the same cluster: so the slots are made before.
sub subscribe
{
	my $from = $node->connstr('source') =~ s/'/''/gr;
	foreach my $db (@_)
	{
		source("SELECT pg_create_logical_replication_slot('$db', 'pgoutput')");
		$node->safe_psql($db, "CREATE SUBSCRIPTION $db CONNECTION '$from' PUBLICATION everything WITH (create_slot = false, copy_data = false)");
	}
}

# arrive NUMBER, DATABASE… waits until what has been written up to now has been applied there.
sub arrive
{
	my ($number, @dbs) = @_;
	source("INSERT INTO orders VALUES ($number)");
	wait_until($node, "SELECT count(*) = 1 FROM orders WHERE id = $number", "order $number arrives in $_", 60, $_) for @dbs;
}
