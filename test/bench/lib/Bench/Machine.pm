# The environment of the figures: the machine, the versions and the settings, stored as lines of case "machine".
package Bench::Machine;
use strict;
use warnings;
use POSIX ();

# note collects them; measuring the disk's rate of fdatasync takes a second or two.
sub note
{
	my ($bench) = @_;
	my $r = $bench->results;

	$r->fact(cores => scalar grep { /^processor\s*:/ } _lines('/proc/cpuinfo'));
	$r->fact(processor => (map { /^model name\s*:\s*(.+)/ ? $1 : () } _lines('/proc/cpuinfo'))[0] // (POSIX::uname())[4]);
	$r->fact(memory => sprintf '%.1f GB', (map { /^MemTotal:\s+(\d+)/ ? $1 / 1048576 : () } _lines('/proc/meminfo'))[0]);
	$r->fact(kernel => join ' ', (POSIX::uname())[ 0, 2 ]);
	$r->fact(distribution => (map { /^PRETTY_NAME="(.+)"/ ? $1 : () } _lines('/etc/os-release'))[0] // '?');
	$r->fact(fdatasync => sprintf '%d per second, of 8 kB, one at a time (pg_test_fsync)', _fdatasync($bench));
	$r->fact(PostgreSQL => $bench->admin->value('SHOW server_version'));
	$r->fact(bgjob => $r->{commit});
	$r->fact('graphile-worker' => _graphile($bench)) if $bench->peers;
	$r->fact(settings => $bench->admin->value(<<~'SQL'));
		SELECT string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name) FROM pg_settings
		WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_worker_processes',
			'max_wal_size', 'wal_level', 'autovacuum', 'bgjob.workers', 'bgjob.retention')
		SQL
	$r->fact(size => $bench->quick ? 'QUICK: a twentieth of the sizes, not to be quoted' : 'full');
	$r->write;
	return;
}

# _fdatasync returns the rate that pg_test_fsync measures for fdatasync, the default of wal_sync_method; it is ended after that line.
sub _fdatasync
{
	my ($bench) = @_;
	my $rate = 0;

	my $pid = open my $out, '-|', "$bench->{bindir}/pg_test_fsync", '-s', 1, '-f', "$bench->{dir}/fsync.out" or return 0;
	while (<$out>)
	{
		next unless /^\s*fdatasync\s+([\d.]+) ops/;
		$rate = $1;
		last;
	}
	kill 'TERM', $pid;
	close $out;
	unlink "$bench->{dir}/fsync.out";
	return $rate;
}

# _graphile is the peer's version, and Node's.
sub _graphile
{
	my ($bench) = @_;
	my ($version) = map { /^\s*"version":\s*"(.+?)"/ ? $1 : () } _lines("$bench->{dir}/peers/node_modules/graphile-worker/package.json");
	chomp(my $node = `node --version`);

	return "$version on Node $node";
}

sub _lines
{
	my ($file) = @_;

	open my $in, '<', $file or return;
	return <$in>;
}

1;
