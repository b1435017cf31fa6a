# one enqueue per transaction, 4 clients: against a plain INSERT of as many bytes; as statements that are sent as text, and prepared ones
package Case::enqueue;
use strict;
use warnings;
use Bench::Meter;

use constant CLIENTS => 4;

sub run
{
	my ($bench) = @_;

	$bench->settings('bgjob.enabled' => 'off');
	$bench->alternate('enqueue', map {
		my ($name, $what, $protocol) = @$_;
		($name => sub { tps($bench, $what, $protocol) })
	} [ 'bgjob', 'bgjob', 'simple' ], [ 'insert', 'insert', 'simple' ], [ 'bgjob, prepared', 'bgjob', 'prepared' ], [ 'insert, prepared', 'insert', 'prepared' ]);
}

# tps runs one of the two with pgbench, in a fresh database.
sub tps
{
	my ($bench, $what, $protocol) = @_;
	my $file    = "$bench->{dir}/$what.sql";
	my $seconds = int $bench->seconds(5) || 1; # short runs, often repeated: the machine is not the same for long

	$bench->fresh('bench');
	my $pad = matching_pad($bench, $bench->session('bench', 'app'));
	script($file, $what eq 'bgjob'
		? q(SELECT bgjob_enqueue('bench_noop', '{"id": 1}');)
		: "INSERT INTO plain (pad) VALUES ('" . 'x' x $pad . "');");
	$bench->session('bench')->rows('VACUUM ANALYZE');
	$bench->admin->rows('CHECKPOINT');
	my $meter = Bench::Meter->begin(bench => $bench, db => 'bench');
	my $text = $bench->run('pgbench', '-n', '-M', $protocol, '-h', $bench->socket, '-U', 'app', '-f', $file, '-c', CLIENTS, '-j', 2, '-T', $seconds, 'bench');
	$meter->stop;
	my ($tps) = $text =~ /^tps = ([\d.]+)/m or die "pgbench printed no rate:\n$text";
	my ($done) = $text =~ /transactions actually processed: (\d+)/;
	die "transactions failed:\n$text" if $text =~ /failed transactions: [1-9]/;
	return (rate => [ 'tps', $tps ], $meter->costs($done));
}

# matching_pad makes the table and finds the padding with which its rows are as wide as those of jobs are on their page.
sub matching_pad
{
	my ($bench, $app) = @_;

	$bench->session('bench')->rows('CREATE EXTENSION IF NOT EXISTS pageinspect');
	$app->rows(q(SELECT bgjob_enqueue('bench_noop', '{"id": 1}'); CREATE TABLE plain (id bigserial PRIMARY KEY, pad text)));
	my $width = stored_width($bench, 'bgjob_internal.job');
	my $pad   = $width - 24 - 8 - 1;
	$app->rows("INSERT INTO plain (pad) VALUES (repeat('x', $pad))");
	return $pad + $width - stored_width($bench, 'plain');
}

# stored_width returns how many bytes the first row of a table has on its page.
sub stored_width
{
	my ($bench, $table) = @_;

	return $bench->session('bench')->value("SELECT lp_len FROM heap_page_items(get_raw_page('$table', 0)) WHERE lp = 1");
}

# script writes a file.
sub script
{
	my ($file, $text) = @_;

	open my $out, '>', $file or die "$file: $!";
	print $out "$text\n";
	close $out;
}

1;
