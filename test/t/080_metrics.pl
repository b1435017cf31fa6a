# bgjob.metrics is what Prometheus wants: promtool accepts the text that the manual's query makes of it, and the page of bgjob-dashboard, of
# a database with something of everything. The rules for alerts are valid, and each fires when it should. Each metric that the rules, the
# dashboard for Grafana and the manual name is there, with the labels that they use. Nothing is lost over a restart, and a
# standby, a database without a scheduler and a server without the library answer, too.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use BgjobDashboard;
use BgjobTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $doc      = "$FindBin::RealBin/../../doc";
my $folder   = PostgreSQL::Test::Utils::tempdir();
my $manual   = slurp_file("$doc/manual.md");
my $promtool = grep({ -x "$_/promtool" } split /:/, $ENV{PATH});
my $node     = bgjob_cluster('metrics', allows_streaming => 1, 'bgjob.workers' => 4);
dashboard_on($node);

sub written { my ($name, $text) = @_; open my $file, '>', "$folder/$name" or die $!; print $file $text; close $file or die $!; return "$folder/$name" }

# promtool_accepts WHAT, FILE, ARGUMENT… runs promtool with a file as its input.
sub promtool_accepts
{
	my ($what, $file, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($out, $err) = ('', '');

	SKIP:
	{
		skip 'promtool is not to be had here', 1 unless $promtool;
		my $done = IPC::Run::run([ 'promtool', @arguments ], '<', $file, '>', \$out, '2>', \$err);
		ok($done && $err eq '', $what) or diag("$out$err");
	}
	return;
}

# ---- something of everything ----

$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA bgjob TO app; CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor;
	CREATE FUNCTION work(n int) RETURNS int LANGUAGE sql AS 'SELECT 10 / n';
	SELECT bgjob_queue('held', paused => true), bgjob_server('side', '{side}', workers => 1);
	SELECT bgjob_limit('smtp', max_running => 2), bgjob_limit('api', rate => 100, per => '1 minute'), bgjob_limit('tenant:*', max_running => 1);
	SELECT bgjob_limit(E'odd "name"\\\\ of\na limit', max_running => 1), bgjob_limit_close('smtp', delay => '1 hour');
	SELECT bgjob_recurring(E'a "recurring"\\\\job\n{x="1"} 7', '@daily', 'work', '[1]'), bgjob_recurring('each', '@every_second', 'work', '[1]');
	SELECT bgjob_enqueue_many('work', ARRAY(SELECT jsonb_build_array(n) FROM generate_series(0, 9) n), max_retries => 0, queue => 'mail', limits => '{api,tenant:1}');
	SELECT bgjob_enqueue('work', '[1]', queue => q, limits => l) FROM (VALUES ('held', NULL), ('mail', '{smtp}'::text[])) AS v(q, l);
	SELECT bgjob_enqueue('work', '[1]', delay => '10 ms'), bgjob_enqueue('work', '[1]', delay => '1 day');
	SELECT bgjob_enqueue('resize', kind => 'external', queue => 'images'); SELECT count(*) FROM bgjob_fetch('{images}', 'w')});
# of METRIC, LABELS is the sum of its samples, as a query.
sub of { my ($metric, $labels) = @_; $labels //= '{}'; return "(SELECT coalesce(sum(value), 0) FROM bgjob.metrics WHERE name = '$metric' AND labels \@> '$labels')" }
wait_until($node, 'SELECT ' . of('bgjob_jobs_finished_total', '{"queue": "mail"}') . ' = 10 AND ' . of('bgjob_scheduler_lag_seconds_count') . ' >= 3', 'what happened to jobs is counted');

# ---- the text format ----

my ($query) = $manual =~ /^```sql\n(SELECT [^`]*# TYPE[^`]*)^```$/m or die 'the manual has no query that makes the text format';
my $text = $node->safe_psql('postgres', $query, extra_params => [ '-U', 'monitor' ]) . "\n";
promtool_accepts("promtool finds no fault with what the manual's query makes", written('metrics.prom', $text), 'check', 'metrics');
my %families = $text =~ /^# TYPE (\S+) (\S+)$/mg;
cmp_ok(scalar(keys %families), '>', 30, 'there are many metrics');
is($text =~ tr/\n//, $node->safe_psql('postgres', 'SELECT count(*) FROM bgjob.metrics') + 2 * keys %families, 'each sample is a line, whatever its labels');

# samples TEXT are the lines of a page without numbers, sorted.
sub samples { my ($page) = @_; return [ sort map { s/ \S+$//r } grep { !/^#/ } split /\n/, $page ] }

SKIP:
{
	my $page = eval { my $dashboard = start_dashboard('-U', 'monitor'); my $answer = http($dashboard, 'GET', '/metrics'); end_dashboard($dashboard); $answer };
	fail("bgjob-dashboard answers: $@"), skip 'there is no page', 3 unless $page;
	is($page->{status}, 200, 'bgjob-dashboard has a page of metrics');
	promtool_accepts('promtool finds no fault with it', written('page.prom', $page->{body}), 'check', 'metrics');
	my %page = map { $_ => 1 } @{ samples($page->{body}) };
	is_deeply([ grep { !$page{$_} } @{ samples($text) } ], [], 'it has all samples of the view')
	  or diag(substr($page->{body}, 0, 2000));
}

# ---- what names metrics ----

my @all = $node->safe_psql('postgres', 'SELECT DISTINCT name FROM bgjob.metrics') =~ /(\S+)/g;
my %known = map { $_ => 1 } @all, keys %families;
my %labels = map { my ($name, @labels) = split /\|/; $name => { map { $_ => 1 } @labels } } split /\n/, $node->safe_psql('postgres', q{SELECT name || '|' || string_agg(DISTINCT l, '|') FROM bgjob.metrics, jsonb_object_keys(labels) l GROUP BY name});
my $rules = slurp_file("$doc/prometheus/bgjob.rules.yml");
my $grafana = JSON::PP->new->decode(slurp_file("$doc/grafana/bgjob.json"));
my @expressions = ((map { $_->{expr} } map { @{ $_->{targets} // [] } } @{ $grafana->{panels} }), (map { $_->{query}{query} } grep { ref $_->{query} } @{ $grafana->{templating}{list} }),
	$rules =~ /^ +expr: (?:>\n)?((?:.|\n(?= {10}))*)/mg);
cmp_ok(scalar @expressions, '>', 50, 'the dashboard for Grafana and the rules have expressions');
is_deeply([ grep { !$known{$_} } map { /\b(bgjob_\w+)/g } @expressions ], [], 'each metric of them is there');
is_deeply([ map { my $expression = $_; map { my ($metric, $matchers) = ($_ =~ /^(\w+)\{(.*)\}$/s); map { "$metric: $_" } grep { !$labels{$metric}{$_} } $matchers =~ /(\w+)\s*[=!]~?/g } $expression =~ /(\bbgjob_\w+\{[^}]*\})/g } @expressions ], [],
	'so is each label by which they choose');
my %used = map { $_ => 1 } map { /\b(bgjob_\w+)/g } @expressions;
is_deeply([ grep { my $family = $_; !grep { /^\Q$family\E(_bucket)?$/ } keys %used } sort keys %families ], [], 'each metric is in the dashboard or in a rule');
my $n = 0;
my @queries = map { s/\$__rate_interval/5m/gr =~ s/\$(?:database|queue)/.*/gr } map { $_->{expr} } map { @{ $_->{targets} // [] } } @{ $grafana->{panels} };
promtool_accepts('the queries of the dashboard for Grafana are valid', '/dev/null', 'check', 'rules',
	written('queries.yml', JSON::PP->new->encode({ groups => [ { name => 'queries', rules => [ map { { record => 'query:' . $n++, expr => $_ } } @queries ] } ] })));
my %ids; $ids{ $_->{id} }++ for @{ $grafana->{panels} };
is_deeply([ grep { $ids{$_} > 1 } keys %ids ], [], 'panels have numbers of their own');
my %in_manual = map { $_ => 1 } $manual =~ /`(bgjob_\w+)`/g;
is_deeply([ grep { !$in_manual{$_} } sort keys %families ], [], 'the manual has each metric');
is_deeply([ grep { !$in_manual{$_} && $manual !~ /\b$_\b/ } $rules =~ /alert: (\w+)/g ], [], 'the manual has each alert');

# ---- alerts ----

promtool_accepts('the rules are valid', '/dev/null', 'check', 'rules', "$doc/prometheus/bgjob.rules.yml");
my $tests = slurp_file("$FindBin::RealBin/lib/alerts.yml");
promtool_accepts('each alert fires when it should, and not before', '/dev/null', 'test', 'rules', written('alerts.yml', $tests =~ s{^  - RULES$}{  - $doc/prometheus/bgjob.rules.yml}mr));
is_deeply([ grep { my $alert = $_; 2 > (() = $tests =~ /alertname: $alert\b/g) } $rules =~ /alert: (\w+)/g ], [], 'each alert is tested in both ways');

# ---- other servers ----

sub scheduler_of { my ($server, $database) = @_; return $server->safe_psql($database, "SELECT value FROM bgjob.metrics WHERE name = 'bgjob_scheduler_up'") }
my $standby = PostgreSQL::Test::Cluster->new('standby');
$node->backup('base');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
is($standby->safe_psql('postgres', q{SELECT string_agg(name || ' ' || value, ', ' ORDER BY name) FROM bgjob.metrics}), 'bgjob_build_info 1, bgjob_scheduler_up 0', 'a standby says that it is no server of jobs');
$standby->stop;

my $before = $node->safe_psql('postgres', 'SELECT ' . of('bgjob_jobs_finished_total', '{"queue": "mail"}'));
$node->restart;
wait_until($node, 'SELECT ' . of('bgjob_jobs_finished_total', '{"queue": "mail"}') . " = $before AND " . of('bgjob_jobs') . ' > 0', 'over a restart the totals of queues are kept, and the numbers of jobs are known again');
wait_until($node, 'SELECT ' . of('bgjob_scheduler_up') . ' = 1', 'a scheduler serves the database');
set_and_reload($node, 'bgjob.enabled' => 'off');
wait_until($node, 'SELECT ' . of('bgjob_scheduler_up') . ' = 0', 'with bgjob.enabled off none does');
set_and_reload($node, 'bgjob.enabled' => 'on');
wait_until($node, 'SELECT ' . of('bgjob_scheduler_up') . ' = 1', 'and again one does');

# A recurring job whose occurrences were missed while the server was down.
$node->stop;
sleep 2; # it is due each second
$node->start;
wait_until($node, 'SELECT ' . of('bgjob_recurring_missed_total', '{"reason": "not_served"}') . ' >= 1', 'what was due while the server was down counts as missed');
check_counters($node);

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is(scheduler_of($node, 'postgres'), 0, 'a server without the library answers');
$node->stop;
done_testing();
