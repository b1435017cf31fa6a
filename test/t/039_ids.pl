# Each id is drawn once, also if many are drawn at a time: beside sessions that draw one, after a crash, on a promoted standby, and up to the last id.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('primary', allows_streaming => 1, 'bgjob.enabled' => 'off', max_connections => 30);
my $tmp = $PostgreSQL::Test::Utils::tmp_check;

sub value { return $node->safe_psql('postgres', $_[0]) }

value(q{
	CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS '';
	CREATE FUNCTION takes_row(changed jsonb) RETURNS void LANGUAGE sql AS '';
	CREATE TABLE returned (id bigint, single boolean);
	CREATE TABLE source (n int);
	CREATE TRIGGER t AFTER INSERT ON source REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bgjob_enqueue_trigger('takes_row')});

# bgjob_enqueue, bgjob_enqueue_many and the trigger at the same time; some transactions roll back.
append_to_file("$tmp/single.sql", "INSERT INTO returned SELECT bgjob_enqueue('nothing'), true;\n");
append_to_file("$tmp/many.sql", q{INSERT INTO returned SELECT id, false FROM bgjob_enqueue_many('nothing', array_fill(NULL::jsonb, ARRAY[1 + :client_id * 301])) id;
BEGIN;
SELECT count(*) FROM bgjob_enqueue_many('nothing', array_fill(NULL::jsonb, ARRAY[37]));
ROLLBACK;
INSERT INTO source SELECT generate_series(1, 3);
});
command_ok([ 'timeout', 150, 'pgbench', '-n', '-c', 6, '-j', 2, '-t', 120, '-f', "$tmp/single.sql\@6", '-f', "$tmp/many.sql", '-h', $node->host, '-p', $node->port, 'postgres' ],
	'six sessions enqueue, one at a time and many');
is(value('SELECT count(*) - count(DISTINCT id) FROM returned'), '0', 'no id was drawn twice');
is(value('SELECT count(*) FROM returned WHERE id NOT IN (SELECT id FROM bgjob.jobs)'), '0', 'each id is that of a job');
is(value('SELECT count(*) > 1000, bool_or(single) FROM returned'), 't|t', 'there are many ids');
is(value(q{SELECT count(*) = (SELECT count(*) FROM source) AND count(*) > 0 FROM bgjob.jobs WHERE job = 'takes_row'}), 't', 'the trigger has enqueued a job for each row');
is(value('SELECT (SELECT max(id) FROM bgjob.jobs) <= last_value FROM bgjob_internal.job_id_seq'), 't', 'the sequence is beyond them');
is(value(q{SELECT count(*) FROM (SELECT id, lag(id) OVER (ORDER BY o) AS before FROM bgjob_enqueue_many('nothing', array_fill(NULL::jsonb, ARRAY[1501])) WITH ORDINALITY AS x (id, o)) y WHERE id <> before + 1}),
	'0', 'the ids of one call are consecutive');

# A crash, right after a checkpoint and right after a commit.
foreach my $before ('CHECKPOINT', 'SELECT bgjob_enqueue($$nothing$$)')
{
	value($before);
	my $last = value(q{SELECT max(id) FROM bgjob_enqueue_many('nothing', array_fill(NULL::jsonb, ARRAY[700])) id});
	$node->stop('immediate');
	$node->start;
	cmp_ok(value(q{SELECT bgjob_enqueue('nothing')}), '>', $last, 'after a crash ids continue after the last one');
	cmp_ok(value(q{SELECT min(id) FROM bgjob_enqueue_many('nothing', array_fill(NULL::jsonb, ARRAY[3])) id}), '>', $last + 1, 'ids of bgjob_enqueue_many continue after the crash');
}

# A standby.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
my $last = value(q{SELECT max(id) FROM bgjob_enqueue_many('nothing', array_fill(NULL::jsonb, ARRAY[700])) id});
$node->wait_for_catchup($standby, 'replay');
$node->stop('immediate');
$standby->promote;
cmp_ok($standby->safe_psql('postgres', q{SELECT min(id) FROM bgjob_enqueue_many('nothing', array_fill(NULL::jsonb, ARRAY[5])) id}), '>', $last, 'on a promoted standby ids continue after the last one');
$node = $standby;

# The end.
value('SELECT setval($$bgjob_internal.job_id_seq$$, 9223372036854775807 - 10)');
my $jobs = value('SELECT count(*) FROM bgjob.jobs');
my ($status, $out, $err) = $node->psql('postgres', q{\set VERBOSITY sqlstate
SELECT bgjob_enqueue_many('nothing', array_fill(NULL::jsonb, ARRAY[11]))});
like($err, qr/ERROR:  2200H/, 'too few ids raise 2200H');
is(value('SELECT count(*) FROM bgjob.jobs'), $jobs, 'no job was enqueued after that error');
value('SELECT setval($$bgjob_internal.job_id_seq$$, 9223372036854775807 - 10)'); # ids drawn one by one are used up by the failed attempt
is(value(q{SELECT max(id) FROM bgjob_enqueue_many('nothing', array_fill(NULL::jsonb, ARRAY[10])) id}), '9223372036854775807', 'the remaining ids can be drawn');
unlike(slurp_file($node->logfile), qr/bgjob does not know/, 'bgjob knows the private parts of this server');
check_counters($node);
$node->stop;
done_testing();
