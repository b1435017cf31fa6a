# What a newcomer pastes works: the README from its first job to the end of the tour, and the recipes, each in an empty database, by psql.
# The manual's tables of views have the columns of the catalog. Its index has every function. Links within the documents lead somewhere.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $top  = "$FindBin::RealBin/../..";
my $node = bgjob_cluster('documents');
my %text = map { $_ => PostgreSQL::Test::Utils::slurp_file("$top/$_") } map { s{^\Q$top\E/}{}r } glob("$top/README.md $top/doc/*.md");

# The README, by a superuser and by an ordinary role that owns the database. The first block needs a superuser.
$node->safe_psql('postgres', 'CREATE ROLE newcomer LOGIN');
my ($install, @tour) = blocks($text{'README.md'} =~ s/^.*?(?=^## Install it\n)//msr);
foreach my $role ($node->safe_psql('postgres', 'SELECT current_user'), 'newcomer')
{
	my $db = "tour_$role";

	$node->safe_psql('postgres', qq(CREATE DATABASE "$db" OWNER "$role"));
	$node->safe_psql($db, $install);
	is_pasted($db, $role, 'README.md', join('', @tour));
	wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN ('enqueued', 'processing'))}, "$role: the jobs of the tour end", undef, $db);
	is($node->safe_psql($db, q{SELECT string_agg(concat_ws(' ', job, state, reason), ', ' ORDER BY id) FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'deleted')}),
		'', "$role: the tour leaves no job that waits or has failed");
	is($node->safe_psql($db, 'SELECT count(*) FROM bgjob.recurring_jobs'), 0, "$role: and no recurring job");
	is($node->safe_psql($db, 'SELECT count(*), count(*) FILTER (WHERE body LIKE \'new: %\') FROM mail WHERE body <> \'a reminder\''), '67|1', "$role: its mails were sent");
}

# The recipes. Instead of sendmail, a file takes the mails.
my $mails = PostgreSQL::Test::Utils::tempdir() . '/mails';
$node->safe_psql('postgres', 'CREATE DATABASE recipes');
$node->safe_psql('recipes', 'CREATE EXTENSION bgjob');
my $recipes = join('', blocks($text{'doc/recipes.md'}));
is($recipes =~ s{/usr/sbin/sendmail -t -i}{cat >>$mails}, 1, 'a recipe calls sendmail');
is($recipes =~ s{'\*/5 \* \* \* \*'}{'\@yearly'}, 1, 'a recipe looks for failures every five minutes');
is_pasted('recipes', $node->safe_psql('postgres', 'SELECT current_user'), 'doc/recipes.md', $recipes);
wait_until($node, q{SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN ('enqueued', 'processing', 'scheduled'))}, 'the jobs of the recipes end', undef, 'recipes');
is($node->safe_psql('recipes', q{SELECT string_agg(job, ', ' ORDER BY id) FROM bgjob.jobs WHERE state NOT IN ('succeeded', 'deleted')}), 'SELECT 1/0, reserve', 'two fail, on purpose');
is($node->safe_psql('recipes', q{SELECT string_agg(format('%s %s %s', id, state, charged), ', ' ORDER BY id) FROM sale}), '1 shipped 130, 2 called off ',
	'the sale was charged and shipped, the one that could not be was called off');
is($node->safe_psql('recipes', q{SELECT string_agg(concat_ws(' ', id, state, approved_by), ', ' ORDER BY id) FROM refund}), '1 paid Ada, 2 declined, 3 declined',
	'a refund was paid after its approval; one was declined when it was refused, one when nobody answered in time');
is($node->safe_psql('recipes', q{SELECT string_agg(concat_ws(' ', job, args, regexp_replace(reason, '(job|batch) \d+', '\1 n')), ', ' ORDER BY id) FROM bgjob.jobs WHERE state = 'deleted'}),
	'search_documents ["tab 7", "w"] Superseded by job n, call_off [1] Cannot run: batch n succeeded, charge [2] Cannot run: job n failed, ship [2] Cannot run: job n failed, '
	  . 'decline_refund [1] Cannot run: job n succeeded, pay_refund [2], pay_refund [3] Waited too long for signal "refund:3" (await_timeout)',
	'what cannot run any more is deleted, with a reason');
like($node->safe_psql('recipes', q{SELECT result FROM bgjob.jobs WHERE job = 'nightly_report'}), qr/^"night of [-0-9]+: succeeded, 6 of 6 jobs in \d+ s"$/, 'the report has the figures of the batch');
is($node->safe_psql('recipes', q{SELECT tab, query, documents FROM found}), 'tab 7|word word|490', 'only the last search was performed');
is($node->safe_psql('recipes', q{SELECT count(*), sum(total) FROM summary}), '3|1501500', 'each source was summarized after it was loaded');
is($node->safe_psql('recipes', q{SELECT done, total, percent FROM progress WHERE description LIKE 'night%'}), '6|6|100', 'the progress of the batch is that of its jobs');
is($node->safe_psql('recipes', 'SELECT count(*), sum(words) FROM document'), '490|' . (490 * (11 + 500) / 2 + 490), 'a job has counted the words of each document');
is($node->safe_psql('recipes', 'SELECT array_length(ids, 1) FROM touched'), 10, 'one job got all ids of the statement, and none was enqueued for no rows');
is($node->safe_psql('recipes', 'SELECT count(*) FROM daily'), 1, 'the materialized view was refreshed');
is($node->safe_psql('recipes', q{SELECT count(*) FROM pg_inherits WHERE inhparent = 'reading'::regclass}), 3, 'the partitions were created');
is($node->safe_psql('recipes', q{SELECT count(*) FROM ops.told}), 1, 'the digest has told of the failure');
my $sent = PostgreSQL::Test::Utils::slurp_file($mails);
is(() = $sent =~ /^To: dba\@example\.org\nSubject: .* failed\n/mg, 2, 'both mails were sent');
like($sent, qr/^\nRole: \w+\nArguments: .*\nAfter 0 retries: division by zero$/m, 'the mail is lines, after an empty one');

# Again, with an old partition, and nothing new to tell.
$node->safe_psql('recipes', q{CREATE TABLE reading_2001_01 PARTITION OF reading FOR VALUES FROM ('2001-01-01') TO ('2001-02-01')});
like($node->safe_psql('recipes', 'SELECT maintain_readings()'), qr/^dropped reading_2001_01 $/, 'the old partition is dropped, the others exist');
is($node->safe_psql('recipes', 'SELECT ops.mail_failures()'), 1, 'a failure since then is told');
is($node->safe_psql('recipes', 'SELECT ops.mail_failures()'), 0, 'once');
my $again = $node->safe_psql('recipes', q{SELECT id FROM bgjob.jobs WHERE job = 'SELECT 1/0'});
$node->safe_psql('recipes', "SELECT bgjob_requeue($again)");
is($node->safe_psql('recipes', "SELECT bgjob_wait($again, '60 s')"), 'failed', 'the job is run again and fails again');
is($node->safe_psql('recipes', 'SELECT ops.mail_failures()'), 1, 'that is told again');

# No line break gets into the headers, and the text is not escaped.
$node->safe_psql('recipes', q{SELECT ops.send_mail(E'a@example.org\nBcc: b@example.org', E'one\r\ntwo', E'.\n\n\\\\N\n"quoted", \\\\ back')});
like(PostgreSQL::Test::Utils::slurp_file($mails), qr/^To: a\@example\.org Bcc: b\@example\.org\nSubject: one two\nContent-Type: .*\n\n\.\n\n\\N\n"quoted", \\ back\n\z/m, 'a mail with line breaks in its headers');

# Each view is a table in the manual.
my %described = described_views($text{'doc/manual.md'});
my %views = map { my ($view, $columns) = split /\|/, $_, 2; $view => $columns } split /\n/, $node->safe_psql('postgres', q{
	SELECT relname, string_agg(attname || ' ' || replace(format_type(atttypid, atttypmod), 'timestamp with time zone', 'timestamptz'), ', ' ORDER BY attnum)
	FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
	WHERE relnamespace = 'bgjob'::regnamespace AND relkind = 'v' GROUP BY relname});
is(join(' ', sort keys %described), join(' ', sort keys %views), 'the manual has a table of columns for each view');
is($described{$_}, $views{$_}, "the manual has the columns of bgjob.$_, in their order, with their types") for sort keys %views;

# The index has each function that the manual describes, or is a family's.
my ($index) = $text{'doc/manual.md'} =~ /^\| to \| functions \|\n(.*?)\n\n/ms;
foreach my $name (split /\n/, $node->safe_psql('postgres', q{SELECT DISTINCT proname FROM pg_proc WHERE proname ~ '^bgjob_' ORDER BY 1}))
{
	my $suffix = $name =~ /^bgjob_(?:recurring|queue|server|cron)(_\w+)$/ ? $1 : $name;
	like($index, qr/\b\Q$name\E\b|`\Q$suffix\E`/, "$name is in the index of the manual");
}

# Links to headings.
foreach my $file (sort keys %text)
{
	my @broken = grep { !leads_somewhere($file, $_) } $text{$file} =~ /\]\(([^)\s]*#[^)\s]+)\)/g;
	is(join(' ', @broken), '', "$file: its links lead to headings");
}
check_counters($node, $_) for grep { /^tour|^recipes/ } split /\n/, $node->safe_psql('postgres', 'SELECT datname FROM pg_database');
done_testing();

# blocks returns the blocks of SQL of a document.
sub blocks
{
	return $_[0] =~ /^```sql\n(.*?)^```$/msg;
}

# is_pasted DATABASE, ROLE, FILE, SQL feeds psql with the statements, as a reader pastes them. The lines with a comment "-- ERROR" raise an
# error, no other line does. What a comment at the end of a line says is what its statement returns, up to the first comma.
sub is_pasted
{
	my ($db, $role, $file, $sql) = @_;
	my ($out, $err) = ('', '');
	my @lines = split /\n/, $sql;
	my @refused = grep { $lines[$_ - 1] =~ /-- ERROR/ } 1 .. @lines;
	my ($checked, @wrong) = (0);

	$node->psql($db, $sql, stdout => \$out, stderr => \$err, on_error_stop => 0, timeout => 120, extra_params => [ '-a', '-U', $role ]);
	is(join(' ', $err =~ /^psql:<stdin>:(\d+): ERROR/mg), join(' ', @refused), "$file, by $role: no statement fails but those that say so") or diag($err);
	while ($out =~ /^SELECT .*;\s+-- (succeeded|failed|\d+|".*?")(?:,.*)?\n(.*)\n/mg)
	{
		$checked++;
		push @wrong, "$1: $2" if $1 ne $2;
	}
	is(join(', ', @wrong), '', "$file, by $role: the statements return what the comments say");
	cmp_ok($checked, '>', 3, "$file, by $role: comments say what is returned");
}

# described_views returns for each view: column type, column type, …, by the tables under headings that end with its name.
sub described_views
{
	my ($manual) = @_;
	my %views;

	while ($manual =~ /^###+ .*?bgjob\.(\w+)\n(.*?)(?=^#|\z)/msg)
	{
		my ($view, $section) = ($1, $2);
		my ($table) = $section =~ /^\| column \| type \| \|\n\|---\|---\|---\|\n(.*?)\n\n/ms or next;

		$views{$view} = join(', ', map { my ($columns, $type) = /^\| (.*?) \| (.*?) \| .* \|$/; map { "$_ $type" } $columns =~ /`(\w+)`/g } split /\n/, $table);
	}
	return %views;
}

# leads_somewhere FILE, LINK returns whether the file that the link names has that heading.
sub leads_somewhere
{
	my ($file, $link) = @_;
	my ($to, $anchor) = $link =~ /^([^#]*)#(.*)$/;
	my $folder = $file =~ m{^(.*/)} ? $1 : '';

	return 1 if $to =~ /^https?:/;
	$to = $to eq '' ? $file : ($folder . $to) =~ s{[^/]+/\.\./}{}r;
	return 0 if !exists $text{$to};
	return grep { $_ eq $anchor } map { slug($_) } $text{$to} =~ /^#+ (.*)$/mg;
}

# slug returns the anchor that a heading gets.
sub slug
{
	my ($heading) = @_;

	utf8::decode($heading);
	$heading = lc $heading;
	$heading =~ s/[^\w\- ]//g;
	$heading =~ s/ /-/g;
	utf8::encode($heading);
	return $heading;
}
