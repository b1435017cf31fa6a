# jobs that copy a row each, by INSERT … SELECT: in chunks of 500 (one call for 500 jobs), and in groups of 500 (one transaction)
package Case::chunks;
use strict;
use warnings;
use Bench::Load;

sub prepare
{
	my ($bench, $db) = @_;

	$bench->session($db)->rows($_) for (
		q{CREATE TABLE source AS SELECT g AS id, 'value ' || g AS v FROM generate_series(0, 9999) g},
		q{ALTER TABLE source ADD PRIMARY KEY (id)},
		q{CREATE TABLE sink (id int, v text)},
		q{GRANT SELECT ON source TO PUBLIC},
		q{GRANT INSERT ON sink TO PUBLIC},
		q{CREATE FUNCTION copy_one(item jsonb) RETURNS void LANGUAGE sql AS
			'INSERT INTO sink SELECT s.id, s.v FROM source s WHERE s.id = (item -> ''id'')::int % 10000'},
		q{CREATE FUNCTION copy_many(items jsonb[]) RETURNS void LANGUAGE sql AS
			'INSERT INTO sink SELECT s.id, s.v FROM unnest(items) i JOIN source s ON s.id = (i -> ''id'')::int % 10000'},
		q{SELECT bgjob_queue('g', group_size => 500)},
		q{SELECT bgjob_configure('copy_many', chunk_size => 500)},
		q{ANALYZE source});
}

sub run
{
	my ($bench) = @_;
	my %load = (jobs => $bench->n(100_000), prepare => sub { prepare($bench, $_[0]) });

	$bench->alternate('chunks',
		'groups of 500' => sub { drain($bench, %load, function => 'copy_one', options => q(, queue => 'g')) },
		'chunks of 500' => sub { drain($bench, %load, function => 'copy_many') });
}

1;
