# Compares schedules with two other implementations: Python's croniter, and a test of each minute in SQL.
#
# lib/cron_oracle.py describes the queries to croniter, and its differences. The SQL shares only the
# server's time zones with the library.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('cron', 'bgjob.workers' => 0, TimeZone => 'UTC');

# Python's croniter, by the python3 that Debian's packages belong to.
my ($python) = grep { -x } qw(/usr/bin/python3 /usr/local/bin/python3);
SKIP:
{
	skip 'python3-croniter is not to be had here', 5
	  unless defined $python && system("$python -c 'import croniter, zoneinfo' 2>/dev/null") == 0;

	my $file = $node->basedir . '/oracle.tsv';
	is(system("$python -B $FindBin::RealBin/lib/cron_oracle.py >$file"), 0, 'the other implementation computes the times');
	$node->safe_psql('postgres', "CREATE TABLE oracle (schedule text, zone text, day_match text, since float8, until float8, times float8[])");
	$node->safe_psql('postgres', "COPY oracle FROM '$file'");
	# Debian's server and Python read the same files of time zones.
	$node->safe_psql('postgres', q{
		CREATE TABLE compared AS SELECT o.*, ARRAY(SELECT extract(epoch FROM t)::float8
			FROM bgjob_cron_occurrences(o.schedule, to_timestamp(o.since), to_timestamp(o.until), o.zone, o.day_match) t) AS ours FROM oracle o});
	cmp_ok($node->safe_psql('postgres', 'SELECT count(DISTINCT schedule) FROM compared'), '>=', 200, '200 schedules');
	cmp_ok($node->safe_psql('postgres', 'SELECT sum(cardinality(times)) FROM compared'), '>', 1_000_000, 'a million occurrences');
	cmp_ok($node->safe_psql('postgres', q{SELECT count(DISTINCT schedule) FROM compared WHERE cardinality(times) > 1000}), '>', 50, 'long rows of them');
	is($node->safe_psql('postgres', q{
		SELECT schedule, zone, day_match, to_timestamp(since), to_timestamp(until),
			(SELECT to_timestamp(min(t)) FROM unnest(times) t WHERE t <> ALL (ours)) AS missing, (SELECT to_timestamp(min(t)) FROM unnest(ours) t WHERE t <> ALL (times)) AS surplus
		FROM compared WHERE times IS DISTINCT FROM ours ORDER BY 1, 2, 4 LIMIT 20}), '', 'both implementations compute the same times');
}

# Every minute of some years, with the local time of the zone.
$node->safe_psql('postgres', q{
	CREATE FUNCTION minutes(zone text, since timestamptz, until timestamptz) RETURNS TABLE (t timestamptz, shown timestamp) LANGUAGE sql AS $$
		SELECT t, t AT TIME ZONE zone FROM generate_series(since, until, '1 minute') t $$;
	CREATE FUNCTION last_day(d timestamp) RETURNS int LANGUAGE sql IMMUTABLE AS $$
		SELECT extract(day FROM date_trunc('month', d) + interval '1 month - 1 day')::int $$;
	-- the nearest Monday to Friday in the month
	CREATE FUNCTION nearest(d timestamp, n int) RETURNS int LANGUAGE sql IMMUTABLE AS $$
		SELECT extract(day FROM c)::int FROM generate_series(date_trunc('month', d), date_trunc('month', d) + interval '1 month - 1 day', '1 day') c
		WHERE extract(isodow FROM c) < 6 AND n <= last_day(d) ORDER BY abs(extract(day FROM c) - n) LIMIT 1 $$;
});

my %field = map { $_ => "extract($_ FROM shown)" } qw(minute hour day month isodow);

# schedule => its condition on a local time "shown"
my %meaning = (
	'*/15 9-17 * * MON-FRI' => "$field{minute} % 15 = 0 AND $field{hour} BETWEEN 9 AND 17 AND $field{isodow} < 6",
	'*/7 * * * *'           => "$field{minute} % 7 = 0",
	'10-40/3 22-2 * * *'    => "$field{minute} BETWEEN 10 AND 40 AND ($field{minute} - 10) % 3 = 0 AND ($field{hour} >= 22 OR $field{hour} <= 2)",
	'30 * L * *'            => "$field{minute} = 30 AND $field{day} = last_day(shown)",
	'0 */6 L-3 * *'         => "$field{minute} = 0 AND $field{hour} % 6 = 0 AND $field{day} = last_day(shown) - 3",
	'0 0-23 * * FRIL'       => "$field{minute} = 0 AND $field{isodow} = 5 AND $field{day} > last_day(shown) - 7",
	'30 2 * * *'            => "$field{minute} = 30 AND $field{hour} = 2",
	'0,30 0 * * *'          => "$field{minute} IN (0, 30) AND $field{hour} = 0",
	'45 23 * * SAT'         => "$field{minute} = 45 AND $field{hour} = 23 AND $field{isodow} = 6",
	'15 1 15W * *'          => "$field{minute} = 15 AND $field{hour} = 1 AND $field{day} = nearest(shown, 15)",
	'15 1 1W,LW * *'        => "$field{minute} = 15 AND $field{hour} = 1 AND $field{day} IN (nearest(shown, 1), nearest(shown, last_day(shown)))",
	'0 2 13 * FRI'          => "$field{minute} = 0 AND $field{hour} = 2 AND ($field{day} = 13 OR $field{isodow} = 5)",
	'0 2 */2 * MON'         => "$field{minute} = 0 AND $field{hour} = 2 AND $field{day} % 2 = 1 AND $field{isodow} = 1",
	'5 4 * NOV-FEB MON#2'   => "$field{minute} = 5 AND $field{hour} = 4 AND $field{month} IN (11, 12, 1, 2) AND $field{isodow} = 1 AND $field{day} BETWEEN 8 AND 14");

for my $place (
	[ 'Europe/Berlin',       '2023-01-01', '2025-01-01' ],
	[ 'Australia/Lord_Howe', '2023-01-01', '2024-06-01' ],
	[ 'America/Sao_Paulo',   '2017-06-01', '2019-06-01' ],
	[ 'Pacific/Apia',        '2011-01-01', '2012-06-01' ])
{
	my ($zone, $since, $until) = @$place;
	$node->safe_psql('postgres', "DROP TABLE IF EXISTS minute; CREATE TABLE minute AS SELECT * FROM minutes('$zone', '$since', '$until');
		CREATE UNIQUE INDEX ON minute (t); ANALYZE minute;
		DROP TABLE IF EXISTS missing; CREATE TABLE missing AS
			SELECT n FROM generate_series((SELECT min(shown) FROM minute), (SELECT max(shown) FROM minute), '1 minute') n EXCEPT SELECT shown FROM minute");
	for my $schedule (sort keys %meaning)
	{
		my $interval = join(' ', (split / /, $schedule)[ 0, 1 ]) =~ m{[*/-]};
		# A local time occurs when the clock shows it first, or skips it in a gap; an interval at each showing.
		my $passes = "SELECT DISTINCT (SELECT m.t FROM minute m WHERE m.shown >= n.shown
				AND m.t BETWEEN ((n.shown - interval '2 days') AT TIME ZONE '$zone') AND ((n.shown + interval '2 days') AT TIME ZONE '$zone') ORDER BY m.t LIMIT 1) AS t";
		my $expected = $interval ? "SELECT t FROM minute WHERE $meaning{$schedule} UNION $passes FROM missing n(shown) WHERE $meaning{$schedule}"
		  : "$passes FROM generate_series((SELECT shown FROM minute ORDER BY t LIMIT 1), (SELECT shown FROM minute ORDER BY t DESC LIMIT 1), '1 minute') n(shown)
			WHERE $meaning{$schedule}";
		my $ours = "SELECT t FROM bgjob_cron_occurrences('$schedule', '$since', '$until', '$zone') t";
		is( $node->safe_psql('postgres', "WITH expected AS MATERIALIZED ($expected), ours AS MATERIALIZED ($ours)
				SELECT 'missing', t FROM (TABLE expected EXCEPT ALL TABLE ours) x UNION ALL
				SELECT 'surplus', t FROM (TABLE ours EXCEPT ALL TABLE expected) x ORDER BY 2 LIMIT 5"), '', "$zone, minute by minute: $schedule");
	}
}

$node->stop;
done_testing();
