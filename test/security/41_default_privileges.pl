# ALTER DEFAULT PRIVILEGES of the role that creates the extension neither grants nor revokes a right on bgjob's tables,
# functions and schema: the extension's rights are the same with any default privileges.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use BgjobTest;
use Test::More;

my $node = bgjob_cluster('defaults');
sub value { return $node->safe_psql($_[0], $_[1]) }

value('postgres', $_) for split /\n/, <<'SQL';
CREATE ROLE app LOGIN
CREATE ROLE "Odd ""role""" LOGIN
CREATE DATABASE generous
CREATE DATABASE strict
SQL

value('generous', join ';', map { ("ALTER DEFAULT PRIVILEGES GRANT ALL ON $_ TO app WITH GRANT OPTION", qq{ALTER DEFAULT PRIVILEGES GRANT ALL ON $_ TO "Odd ""role""", PUBLIC}) } qw(TABLES SEQUENCES FUNCTIONS SCHEMAS));
value('strict', 'ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC');
value($_, 'CREATE EXTENSION bgjob') for qw(generous strict);

# Each right on an object of the extension, as a line.
my $rights = q{SELECT string_agg(line, E'\n' ORDER BY line) FROM (
	SELECT format('%s: %s %s', o.name, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END) AS line
	FROM (SELECT oid::regclass::text AS name, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) AS acl, relowner AS owner
			FROM pg_class WHERE relnamespace IN ('bgjob'::regnamespace, 'bgjob_internal'::regnamespace) AND relkind IN ('r', 'v', 'S')
		UNION ALL SELECT oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), proowner
			FROM pg_proc JOIN pg_depend ON objid = oid WHERE classid = 'pg_proc'::regclass AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'bgjob')
		UNION ALL SELECT nspname, coalesce(nspacl, acldefault('n', nspowner)), nspowner FROM pg_namespace WHERE nspname IN ('bgjob', 'bgjob_internal')) AS o,
		aclexplode(o.acl) AS a WHERE a.grantee <> o.owner) AS l};
my $expected = value('postgres', $rights);

cmp_ok(scalar(split /\n/, $expected), '>', 40, 'there are rights');
unlike($expected, qr/: (?!PUBLIC|pg_database_owner|pg_monitor)/, 'the rights are those of PUBLIC and predefined roles');
unlike($expected, qr/^bgjob(?:_internal)?\.(?!jobs|job_states|job_logs|queues|functions|function_stats|metrics|servers|workers|stats|stats_history|recurring_jobs|filters|batches|signals|limits|continuations|\w+\()\w+: /m, 'no role has a right on the tables');
unlike($expected, qr/^bgjob_internal: /m, 'no role has a right on the schema of the tables');
is(value($_, $rights), $expected, "the rights are the same with $_ default privileges") for qw(generous strict);

# The attack: a job of the superuser's becomes one that makes the role a superuser.
my $job = value('generous', q{GRANT USAGE ON SCHEMA bgjob TO app; SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 hour')});
for my $sql (
	"UPDATE bgjob_internal.job SET job = 'ALTER ROLE app SUPERUSER' WHERE id = $job",
	'UPDATE bgjob.recurring_jobs SET schedule = \'@hourly\'', 'DELETE FROM bgjob.filters', "SELECT setval('bgjob_internal.job_id_seq', 1)",
	'SELECT bgjob_adopt()', q{SELECT bgjob_filter('x', 'creating', 'x')}, 'CREATE TABLE bgjob.x ()')
{
	my ($status, $out, $err) = $node->psql('generous', $sql, extra_params => [ '-U', 'app' ]);
	like($err, qr/permission denied|cannot update view/, "denied: $sql");
}

# And a role with USAGE uses bgjob.
value('strict', 'GRANT USAGE ON SCHEMA bgjob TO app');
$job = $node->safe_psql('strict', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql')}, extra_params => [ '-U', 'app' ]);
is($node->safe_psql('strict', "SELECT bgjob_wait($job, '30 s'); SELECT count(*) FROM bgjob.jobs; SELECT count(*) FROM bgjob.stats", extra_params => [ '-U', 'app' ]), "succeeded\n1\n1", 'a role with USAGE can use bgjob without default rights of PUBLIC');

check_counters($node, $_) for qw(generous strict);
done_testing();
