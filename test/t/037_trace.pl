# A traceparent in a job's parameters precedes the log lines of that job, and no others.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('trace', log_line_prefix => '[%b] ', 'bgjob.workers' => 1);
sub value { my ($query) = @_; return $node->safe_psql('postgres', $query) }
value(q{
	CREATE FUNCTION say(what text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		RAISE LOG 'saying %', what;
		RETURN current_setting('application_name');
	END $$;
	CREATE FUNCTION fail(what text) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'failing %', what; END $$;
	SELECT bgjob_queue('g', group_size => 50)});

my $trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
my %wrong = (
	'not hexadecimal' => '00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01',
	'too short'       => '00-4bf92f35-00f067aa0ba902b7-01',
	'too long'        => "$trace-0",
	'upper case'      => uc $trace,
	'a new line'      => substr($trace, 0, -1) . '\n');
foreach my $queue ('default', 'g')
{
	value(qq{SELECT bgjob_enqueue('say', '["$queue traced"]', queue => '$queue', parameters => '{"traceparent": "$trace"}'),
		bgjob_enqueue('fail', '["$queue traced"]', queue => '$queue', max_retries => 0, parameters => '{"traceparent": "$trace"}'),
		bgjob_enqueue('say', '["$queue not traced"]', queue => '$queue', parameters => '{"other": 1}')});
	value(qq{SELECT bgjob_enqueue('say', '["$queue $_"]', queue => '$queue', parameters => '{"traceparent": "$wrong{$_}"}')}) for sort keys %wrong;
	value(qq{SELECT bgjob_enqueue('say', '["$queue $_->[0]"]', queue => '$queue', parameters => '{"traceparent": $_->[1]}')}) for [ 'a number', 7 ], [ 'null', 'null' ];
	wait_until($node, q{SELECT count(*) = 0 FROM bgjob.jobs WHERE state IN ('enqueued', 'processing')}, "$queue: the jobs end");
	is(value(qq{SELECT result FROM bgjob.jobs WHERE args = '["$queue traced"]' AND job = 'say'}), qq{"$trace"}, "$queue: application_name is the traceparent");

	my $log = slurp_file($node->logfile);
	like($log, qr/^\[bgjob worker \Q$trace\E\] LOG:  saying $queue traced$/m, "$queue: log lines of the job begin with the traceparent");
	like($log, qr/^\[bgjob worker \Q$trace\E\] ERROR:  failing $queue traced$/m, "$queue: before its error");
	like($log, qr/^\[bgjob worker \Q$trace\E\] CONTEXT:  .*(?:\n\t.*)*bgjob job \d+ \(fail\)/m, "$queue: the context of its error begins with the traceparent");
	foreach my $what ('not traced', 'a number', 'null', sort keys %wrong)
	{
		my ($name) = $log =~ /^\[(.*)\] LOG:  saying $queue \Q$what\E$/m;
		is($name, 'bgjob worker', "$queue, $what: the next job has no traceparent in its log lines");
	}
}
is(value(q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '00-%'}), '0', 'nothing is left of it afterwards');
check_counters($node);
done_testing();
