# A session whose list of changed settings is not as bgjob knows it captures settings all the same, and says so in the log.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = bgjob_cluster('private_list');
$node->safe_psql('postgres', q{
	CREATE FUNCTION hide(name text) RETURNS boolean LANGUAGE c STRICT AS 'crashme', 'crashme_hide_setting';
	CREATE TABLE seen (value text)});

# seen QUERY: what a job reads of a setting that its session set before it ran the query.
sub seen
{
	my ($query) = @_;
	my $id = $node->safe_psql('postgres', qq{TRUNCATE seen; SET private.list = 'one'; $query;
		SELECT bgjob_enqueue('INSERT INTO seen VALUES (current_setting(''private.list'', true))', kind => 'sql')});

	$id = (split /\n/, $id)[-1];
	is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'a job runs');
	return $node->safe_psql('postgres', 'SELECT value FROM seen');
}

is(seen('SELECT 1'), 'one', 'a custom setting is captured');
unlike(slurp_file($node->logfile), qr/bgjob does not know/, 'the list of settings is known');
SKIP:
{
	skip 'this server has no such list', 3 if $node->safe_psql('postgres', 'SHOW server_version_num') < 160000;
	is(seen(q{SELECT hide('private.list')}), 'one', 'a setting that is missing in the list is captured');
	like(slurp_file($node->logfile), qr/LOG:  bgjob does not know how this server lists the settings/, 'the log says that the list is not known');
}
check_counters($node);
$node->stop;
done_testing();
