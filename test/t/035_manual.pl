# The examples of the manual run as they stand, one after the other, and so do the jobs that they put in.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $doc  = "$FindBin::RealBin/../../doc";
my $node = bgjob_cluster('manual');

foreach my $file ('manual.md', 'cron.md')
{
	my $text = PostgreSQL::Test::Utils::slurp_file("$doc/$file");
	my @examples = $text =~ /^```sql\n(.*?)^```$/msg;
	my ($out, $err) = ('', '');

	cmp_ok(scalar @examples, '>', 0, "$file has examples");
	# One session, as a reader would type them: each statement by itself.
	$node->psql('postgres', join("\n", map { "\\echo example\n$_" } @examples), stdout => \$out, stderr => \$err, on_error_stop => 0, timeout => 120);
	is($err =~ s/^psql:.*NOTICE.*\n//mgr, '', "$file: no example fails");
	is(() = $out =~ /^example$/mg, scalar @examples, "$file: all were run");
}
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN ('enqueued', 'processing'))}, 'the jobs of the examples end');
is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', job, state, error ->> 'message'), ', ') FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'scheduled', 'deleted')}),
	'', 'and none fails');

# What the manual says of its examples.
is($node->safe_psql('postgres', q{SELECT state, progress, parameters FROM bgjob.jobs WHERE job = 'send_all'}), 'succeeded|100|{"sent": 101}' =~ s/101/$node->safe_psql('postgres', 'SELECT count(*) FROM letter')/er,
	'the job that sends all letters tells its progress and sets a parameter');
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'report' AND args = '["weekly"]'}), 1, 'the report was replaced');

# Every function of the extension that users call is in the manual.
my $manual = PostgreSQL::Test::Utils::slurp_file("$doc/manual.md") . PostgreSQL::Test::Utils::slurp_file("$doc/cron.md");
foreach my $name (split /\n/, $node->safe_psql('postgres', q{SELECT DISTINCT proname FROM pg_proc WHERE proname ~ '^bgjob_' ORDER BY 1}))
{
	like($manual, qr/\Q$name\E\(/, "$name is in the manual");
}
foreach my $view (split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relnamespace = 'bgjob'::regnamespace AND relkind = 'v' ORDER BY 1}))
{
	like($manual, qr/\Q$view\E/, "the view $view is in the manual");
}
check_counters($node);
done_testing();
