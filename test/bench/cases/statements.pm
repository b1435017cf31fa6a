# SQL statements per job, as pg_stat_statements counts them (a pass of its own: counting costs)
package Case::statements;
use strict;
use warnings;
use utf8;
use Bench::Load;
use Bench::Peers;

sub run
{
	my ($bench) = @_;
	my $jobs = $bench->n(10_000);

	$bench->settings(shared_preload_libraries => [ 'bgjob', 'pg_stat_statements' ]);
	$bench->settings('pg_stat_statements.track' => 'all');
	$bench->admin->rows('CREATE EXTENSION IF NOT EXISTS pg_stat_statements');
	my @begin = (begin => sub { $bench->admin->rows('SELECT pg_stat_statements_reset()') });
	drain($bench, jobs => $jobs, @begin);
	$bench->record('statements', 'bgjob', counted($bench, 'bench', $jobs));
	for my $mode ($bench->peers ? ('plain', 'batched') : ())
	{
		graphile_own($bench, $jobs, $mode, 'noop', @begin);
		$bench->record('statements', "graphile $mode", counted($bench, 'peers', $jobs));
	}
	$bench->admin->rows('DROP EXTENSION pg_stat_statements');
}

# counted is what was counted in a database since the drain began, without our own looking.
sub counted
{
	my ($bench, $db, $jobs) = @_;

	my @found = $bench->admin->rows(<<~"SQL");
		SELECT calls, left(regexp_replace(query, '\\s+', ' ', 'g'), 70) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
		WHERE d.datname = '$db' AND query !~ 'bgjob[.](stats|jobs)|count\\(\\*\\) c from graphile_worker|pg_stat_force_next_flush'
		ORDER BY calls DESC
		SQL
	my $calls = 0;
	$calls += $_->[0] for @found;
	$bench->progress(join '', "statements: $db: $calls for $jobs jobs", map { "\n          $_->[0] × $_->[1]" } grep { $_->[0] > $jobs / 100 } @found);
	return (statements => [ '/job', $calls / $jobs ]);
}

1;
