# The examples and queries of the manual run unchanged, one after the other, and so do the jobs that they enqueue.
# Each row of its tables of errors is raised by the calls in manual_errors.txt.
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
	# One session, as a reader would type the examples, statement by statement.
	$node->psql('postgres', join("\n", map { "\\echo example\n$_" } @examples), stdout => \$out, stderr => \$err, on_error_stop => 0, timeout => 120);
	is($err =~ s/^psql:.*NOTICE.*\n//mgr, '', "$file: no example fails");
	is(() = $out =~ /^example$/mg, scalar @examples, "$file: all examples were run");
}
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN ('enqueued', 'processing'))}, 'the jobs of the examples end');

# What needs pgTAP is run by a test that has it.
my $with_pgtap = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../pgtap/22_run.sql");
ok(index($with_pgtap, $_) >= 0, 'test/pgtap/22_run.sql has the example for pgTAP') for PostgreSQL::Test::Utils::slurp_file("$doc/manual.md") =~ /^```sql pgtap\n(.*?)^```$/msg;
is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', job, state, error ->> 'message'), ', ') FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'scheduled', 'deleted')}),
	'', 'no job of the examples fails');

# The results of the examples, by the manual.
is($node->safe_psql('postgres', q{SELECT state, progress, parameters FROM bgjob.jobs WHERE job = 'send_all'}), 'succeeded|100|{"sent": 101}' =~ s/101/$node->safe_psql('postgres', 'SELECT count(*) FROM letter')/er,
	'the job that sends all letters tells its progress and sets a parameter');
is($node->safe_psql('postgres', q{SELECT count(*) FROM bgjob.jobs WHERE unique_key = 'report' AND args = '["weekly"]'}), 1, 'the report was replaced');

# The manual has every public function of the extension.
my $manual = PostgreSQL::Test::Utils::slurp_file("$doc/manual.md") . PostgreSQL::Test::Utils::slurp_file("$doc/cron.md");
foreach my $name (split /\n/, $node->safe_psql('postgres', q{SELECT DISTINCT proname FROM pg_proc WHERE proname ~ '^bgjob_' ORDER BY 1}))
{
	like($manual, qr/\Q$name\E\(/, "$name is in the manual");
}
foreach my $view (split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relnamespace = 'bgjob'::regnamespace AND relkind = 'v' ORDER BY 1}))
{
	like($manual, qr/\Q$view\E/, "the view $view is in the manual");
}

# Each row of the manual's tables of errors is raised.
my ($rows, $cases) = (manual_errors(), error_cases());
is_deeply([ sort { $a cmp $b } keys %{ { map { $_->{name} => 1 } @$cases } } ], [ sort { $a cmp $b } @$rows ], 'manual_errors.txt has the rows of the tables of errors');
$node->safe_psql('postgres', 'CREATE DATABASE errors');
$node->safe_psql('errors', 'CREATE EXTENSION bgjob');

$node->safe_psql('errors', PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/lib/manual_errors.sql"));
foreach my $case (@$cases)
{
	if ($case->{how} eq 'elsewhere')
	{
		my $test = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../$case->{sql}");
		like($test, qr/$case->{sqlstate}/, "$case->{name}: $case->{sql}");
		next;
	}
	is($case->{how} =~ /job$/ ? job_error($case) : session_error($case), $case->{sqlstate}, "$case->{name}: $case->{sql}");
}
check_counters($node);
done_testing();

# manual_errors returns a name for each row of the tables of errors: heading, SQLSTATE, when.
sub manual_errors
{
	my $text = PostgreSQL::Test::Utils::slurp_file("$doc/manual.md");
	my ($heading, $in_table, %rows) = ('', 0);

	for my $line (split /\n/, $text)
	{
		$heading = $1 if $line =~ /^### (bgjob_\w+|.*)/;
		$in_table = $line =~ /^\| SQLSTATE \| when/ || ($in_table && $line =~ /^\|/);
		$rows{"$heading $1 $2"} = 1 if $in_table && $line =~ /^\| (\w{5}) \| (.*?) \| /;
	}
	return [ keys %rows ];
}

# error_cases returns what manual_errors.txt says: name, sqlstate, how, sql.
sub error_cases
{
	my ($heading, @cases) = ('');

	for my $line (grep { !/^#/ && /\S/ } split /\n/, PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/lib/manual_errors.txt"))
	{
		if ($line =~ /^\[(.*)\]$/) { $heading = $1; next; }
		my ($sqlstate, $when, $how, $sql) = $line =~ /^(\w{5}) \| (.*?) \| (\w+): (.*)$/ or die "manual_errors.txt: $line";
		push @cases, { name => "$heading $sqlstate $when", sqlstate => $sqlstate, how => $how, sql => $sql };
	}
	return \@cases;
}

# session_error returns the SQLSTATE that a session of the case's role gets; the transaction is rolled back.
sub session_error
{
	my ($case) = @_;
	my $role = $case->{how} eq 'root' ? '' : "SET ROLE $case->{how};";
	my ($out, $err) = ('', '');

	$node->psql('errors', "\\set VERBOSITY sqlstate\nBEGIN; $role $case->{sql};", stdout => \$out, stderr => \$err);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : "no error: $out$err";
}

# job_error returns the SQLSTATE that a command fails with as a job.
sub job_error
{
	my ($case) = @_;
	my $role = $case->{how} eq 'rootjob' ? '' : 'SET ROLE app;';
	my $id = $node->safe_psql('errors', "$role SELECT bgjob_enqueue(\$sql\$$case->{sql}\$sql\$, kind => 'sql', max_retries => 0)");

	$node->safe_psql('errors', "SELECT bgjob_wait($id, '60 s')");
	return $node->safe_psql('errors', "SELECT coalesce(error ->> 'sqlstate', state) FROM bgjob.jobs WHERE id = $id");
}
