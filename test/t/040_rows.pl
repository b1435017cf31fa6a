# Rows are stored up to the last column that is not what it is by default, and read the same whether a column is there or not.
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

my $plain = 'default/enqueued/function/0/10';

sql(q{SELECT bgjob_enqueue('work', '[1]'); SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY['[2]', '[3]']::jsonb[])});
like(stored('bgjob.job'), qr/^7:(\d\d) 7:\1 7:\1$/, 'a new job has seven columns and less than 100 bytes, singly and in bulk');
is(stored('bgjob.queue'), '4:50 4:50 4:50', 'its row in the queue has four');
is(columns(), "$plain $plain $plain", 'and all columns can be read');

sql(q{SELECT bgjob_enqueue('work', '[4]', queue => 'other'); SELECT bgjob_enqueue('work', '[5]', priority => 1);
	SELECT bgjob_enqueue('work', '[6]', max_retries => 3); SELECT bgjob_enqueue('SELECT 7', kind => 'sql'); SELECT bgjob_enqueue('work', '[8]', delay => '1 day')});
my $others = "other/enqueued/function/0/10 default/enqueued/function/1/10 default/enqueued/function/0/3 default/enqueued/sql/0/10 default/scheduled/function/0/10";
is(columns(), "$plain $plain $plain $others", 'what is not as by default is stored');
is(join(' ', (stored('bgjob.job') =~ /(\d+):/g)[ 3 .. 7 ]), '8 11 12 27 23', 'up to there');

# VACUUM FULL stores rows whole, and the server forgets how columns that are not there read.
sql("VACUUM FULL $_") for 'bgjob.job', 'bgjob.queue';
is(columns(), "$plain $plain $plain $others", 'VACUUM FULL changes nothing of them');
sql(q{SELECT bgjob_enqueue('work', '[9]'); SELECT count(*) FROM bgjob_enqueue_many('work', ARRAY['[10]', '[11]']::jsonb[])});
is(columns(), "$plain $plain $plain $others $plain $plain $plain", 'nor of jobs that come later');
is(join(' ', (stored('bgjob.job') =~ /(\d+):/g)[ 8 .. 10 ]), '12 12 12', 'which are stored with all columns that are not null');

set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, q{SELECT count(*) = 10 FROM bgjob.jobs WHERE state = 'succeeded'}, 'and all are performed');
$node->stop;
done_testing();
