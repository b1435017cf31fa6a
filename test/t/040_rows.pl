# Rows inserted in bulk are stored up to the last column without its default, and read the same with and without the other columns.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('rows', 'bgjob.enabled' => 'off');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{CREATE EXTENSION pageinspect; CREATE FUNCTION work(i int) RETURNS int LANGUAGE sql AS 'SELECT i'});

# stored TABLE: for each row on the first page, the number of its columns and its bytes.
sub stored
{
	my ($table) = @_;

	return sql(qq{SELECT string_agg((t_infomask2 & 2047) || ':' || lp_len, ' ' ORDER BY lp) FROM heap_page_items(get_raw_page('$table', 0)) WHERE lp_len > 0});
}

# columns: for each job, what is read of the columns that may not be there.
sub columns
{
	return sql(q{SELECT string_agg(concat_ws('/', queue, state, kind, priority, max_retries), ' ' ORDER BY id) FROM bgjob.jobs});
}

my $all   = sql(q{SELECT relnatts FROM pg_class WHERE oid = 'bgjob_internal.job'::regclass});
my $plain = 'default/enqueued/function/0/10';

sql(q{SELECT bgjob_enqueue('work', '[1]'); SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY['[2]', '[3]']::jsonb[])});
like(stored('bgjob_internal.job'), qr/^$all:\d+ 7:(\d\d) 7:\1$/, 'a new job in bulk has seven columns and less than 100 bytes');
is(stored('bgjob_internal.queue'), '7:60 4:50 4:50', 'the row of a new job in the queue has four columns');
is(columns(), "$plain $plain $plain", 'all columns of the rows can be read');

# Jobs that are not as by default, each in a bulk of two.
sub two { return sql("SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY['[4]', '[5]']::jsonb[], $_[0])") }
two($_) for q(queue => 'other'), 'priority => 1', 'max_retries => 3', q(delay => '1 day');
my $others = join ' ', map { ($_) x 2 } 'other/enqueued/function/0/10', 'default/enqueued/function/1/10', 'default/enqueued/function/0/3', 'default/scheduled/function/0/10';
is(columns(), "$plain $plain $plain $others", 'values other than the defaults are stored');
is(join(' ', (stored('bgjob_internal.job') =~ /(\d+):/g)[ 3 .. 10 ]), '8 8 11 11 12 12 23 23', 'up to there');

# VACUUM FULL stores rows whole, and the server forgets how columns that are not there read.
sql("VACUUM FULL $_") for 'bgjob_internal.job', 'bgjob_internal.queue';
is(columns(), "$plain $plain $plain $others", 'VACUUM FULL changes nothing of them');
sql(q{SELECT bgjob_enqueue('work', '[9]'); SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY['[10]', '[11]']::jsonb[])});
is(columns(), "$plain $plain $plain $others $plain $plain $plain", 'later jobs are stored correctly');
is(join(' ', (stored('bgjob_internal.job') =~ /(\d+):/g)[ 12 .. 13 ]), '12 12', 'later jobs are stored with all columns that are not null');

set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, q{SELECT count(*) = 12 FROM bgjob.jobs WHERE state = 'succeeded'}, 'all jobs are performed');
check_counters($node);
$node->stop;
done_testing();
