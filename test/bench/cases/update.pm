# jobs that each UPDATE a row of their own, singly and in groups: the advantage must not shrink
package Case::update;
use strict;
use warnings;
use Bench::Load;
use Bench::Peers;

use constant ROWS => 200_000;

sub run
{
	my ($bench) = @_;

	$bench->fresh('bench');
	my $groups = $bench->grouped('bench', 'update');
	my @jobs = (jobs => $bench->n(ROWS), function => 'bench_update');
	$bench->alternate('update',
		bgjob => sub { drain($bench, @jobs, prepare => sub { table($bench, 'bench', 'app') }) },
		$groups
		? ('bgjob group' => sub {
				drain($bench, @jobs, options => q(, queue => 'g'),
					prepare => sub { table($bench, 'bench', 'app'); $bench->grouped('bench', 'update') });
			})
		: (),
		$bench->peers
		? ('graphile, own driver' => sub { graphile_own($bench, $bench->n(30_000), 'plain', 'update', prepare => sub { table($bench, 'peers', 'postgres') }) },
			'graphile batched, own driver' =>
			  sub { graphile_own($bench, $bench->n(100_000), 'batched', 'update', prepare => sub { table($bench, 'peers', 'postgres') }) })
		: ());
}

# table makes the table, and the function for bgjob.
sub table
{
	my ($bench, $db, $user) = @_;

	$bench->session($db, $user)->rows(<<~"SQL");
		CREATE TABLE bench_row (id integer PRIMARY KEY, n integer NOT NULL);
		INSERT INTO bench_row SELECT i, 0 FROM generate_series(1, @{[ ROWS ]}) i;
		CREATE FUNCTION bench_update(args jsonb) RETURNS void LANGUAGE plpgsql AS
			\$\$ BEGIN UPDATE bench_row SET n = n + 1 WHERE id = (args ->> 'id')::integer; END \$\$;
		SQL
}

1;
