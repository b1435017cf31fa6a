# Gate: the layers of the source.
#
#   perl layers.pl TREE                    says TAP
#
# A file of src/LAYER includes only its own layer and lower ones; process and api stand side by side
# and do not include each other. PG_VERSION_NUM is in base/compat.h alone. The tables of bgjob are
# named by the storage layer alone; strings in C elsewhere that read like SQL on them are a violation.
#
# The programs stand beside the layers: src/worker and src/dashboard include their own folder and
# src/client, src/client itself alone. None of them includes a header of the server, and no layer
# includes theirs. Of PostgreSQL they may have libpq and what it includes.
#
# The last tests are of the gate: it rejects small trees with one violation each, and accepts one without.
use strict;
use warnings;
use File::Path qw(make_path);
use File::Temp qw(tempdir);

my %level    = (rules => 0, base => 1, store => 2, run => 3, process => 4, api => 4);
my %programs = (client => ['client'], worker => [ 'worker', 'client' ], dashboard => [ 'dashboard', 'client' ]);
my @rules    = (
	[ upward  => 'includes go downward' ],
	[ impure  => 'src/rules includes nothing but itself and the C library' ],
	[ version => 'PG_VERSION_NUM is in src/base/compat.h alone' ],
	[ tables  => 'only src/store names the tables' ],
	[ program => 'programs include their own folder, src/client and no header of the server' ]);

# read_code FILE returns its text without comments; the line numbers stay.
sub read_code
{
	my ($file) = @_;
	my $text = do { local (@ARGV, $/) = $file; <> };

	$text =~ s{/\*.*?\*/}{ $& =~ tr/\n//cdr }gse;
	return $text;
}

# check_layer adds to a hash of violations, by rule, those of one line of a layer's file.
sub check_layer
{
	my ($found, $layer, $file, $number, $line) = @_;
	my $where = "$file:$number";

	if ($line =~ /^\s*#\s*include\s*"(?:\.\.\/)*(\w+)\/[\w.]+"/)
	{
		push @{ $found->{upward} }, "$where: $layer includes $1"
		  if $programs{$1} || exists $level{$1} && ($level{$1} > $level{$layer} || $level{$1} == $level{$layer} && $1 ne $layer);
	}
	push @{ $found->{impure} }, "$where: $1" if $layer eq 'rules' && $line =~ /^\s*#\s*include\s*"((?!rules\/)[^"]+)"/;
	push @{ $found->{version} }, $where if $line =~ /\bPG_VERSION_NUM\b/ && $file ne 'src/base/compat.h';
	return if $layer eq 'store';
	push @{ $found->{tables} }, "$where: $line"
	  if $line =~ /"[^"]*\b(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+(?:ONLY\s+)?bgjob(?:_internal)?\./i
	  || $line =~ /get_relname_relid\s*\(\s*"(?!pg_)/ || $line =~ /makeRangeVar\s*\([^)]*"bgjob(?:_internal)?"/;
}

# check_program does the same for one line of a program's file. A header in quotes is its own or the client's.
sub check_program
{
	my ($found, $program, $file, $number, $line) = @_;

	if ($line =~ /^\s*#\s*include\s*"([^"]+)"/)
	{
		my ($from) = $1 =~ m{^(\w+)/[\w.]+$};
		push @{ $found->{program} }, "$file:$number: $program includes $1"
		  unless $1 eq 'libpq-fe.h' || defined $from && grep { $_ eq $from } @{ $programs{$program} };
	}
	push @{ $found->{program} }, "$file:$number: $program includes $1"
	  if $line =~ /^\s*#\s*include\s*<((?:postgres|c\.h|miscadmin|fmgr|(?:server|access|base|catalog|executor|lib|nodes|parser|postmaster|storage|utils)\/)[^>]*)>/;
	push @{ $found->{version} }, "$file:$number" if $line =~ /\bPG_VERSION_NUM\b/;
}

# violations TREE returns a hash of the violations in a tree, by rule.
sub violations
{
	my ($tree) = @_;
	my %found;

	for my $path (glob "$tree/src/*/*.c $tree/src/*/*.h")
	{
		my $file = substr $path, length "$tree/";
		my ($folder) = $file =~ m{^src/(\w+)/};
		my $check = exists $level{$folder} ? \&check_layer : $programs{$folder} ? \&check_program : next;
		my $number = 0;

		$check->(\%found, $folder, $file, ++$number, $_) for split /\n/, read_code($path);
	}
	return \%found;
}

# Which rules a tree of these files, by their names, violates.
sub violated
{
	my (%files) = @_;
	my $tree = tempdir(CLEANUP => 1);

	for my $name (keys %files)
	{
		my ($folder) = $name =~ m{(.*)/};
		make_path("$tree/src/$folder");
		open my $file, '>', "$tree/src/$name" or die "$name: $!";
		print $file $files{$name};
		close $file;
	}
	my $found = violations($tree);
	return join ' ', map { $_->[0] } grep { $found->{ $_->[0] } } @rules;
}

my @planted = (
	[ '',      'run/a.c',       qq{#include "postgres.h"\n#include "store/b.h"\n/* PG_VERSION_NUM, "FROM bgjob.jobs" */\n} ],
	[ '',      'store/a.c',     qq{sql = "SELECT 1 FROM bgjob_internal.job";\n} ],
	[ '',      'base/compat.h', qq{#if PG_VERSION_NUM >= 160000\n} ],
	[ '',      'client/a.c',    qq{#include <libpq-fe.h>\n#include "client/a.h"\n} ],
	[ '',      'worker/a.c',    qq{#include <stdio.h>\n#include "client/a.h"\n#include "worker/a.h"\n} ],
	[ '',      'dashboard/a.c', qq{#include "client/a.h"\n#include "dashboard/a.h"\n} ],
	[ upward   => 'base/a.c',      qq{#include "store/b.h"\n} ],
	[ upward   => 'api/a.c',       qq{#include "process/b.h"\n} ],
	[ upward   => 'process/a.c',   qq{#include "client/b.h"\n} ],
	[ upward   => 'store/a.c',     qq{#include "dashboard/b.h"\n} ],
	[ impure   => 'rules/a.c',     qq{#include "postgres.h"\n} ],
	[ version  => 'run/a.c',       qq{#if PG_VERSION_NUM >= 160000\n} ],
	[ version  => 'client/a.c',    qq{#if PG_VERSION_NUM >= 160000\n} ],
	[ tables   => 'api/a.c',       qq{sql = "SELECT 1 FROM bgjob_internal.job";\n} ],
	[ program  => 'worker/a.c',    qq{#include "dashboard/b.h"\n} ],
	[ program  => 'worker/a.c',    qq{#include "base/b.h"\n} ],
	[ program  => 'dashboard/a.c', qq{#include "worker/b.h"\n} ],
	[ program  => 'dashboard/a.c', qq{#include <utils/guc.h>\n} ],
	[ program  => 'client/a.c',    qq{#include "worker/b.h"\n} ],
	[ program  => 'client/a.c',    qq{#include "postgres.h"\n} ],
	[ program  => 'client/a.c',    qq{#include <postgres.h>\n} ]);

my $test  = 0;
my $found = violations(shift // '.');

printf "1..%d\n", @rules + @planted;
result($_->[1], @{ $found->{ $_->[0] } // [] }) for @rules;
for (@planted)
{
	my ($expected, $file, $text) = @{$_};
	my $got = violated($file, $text);

	result("a planted src/$file: " . ($expected ? "refused ($expected)" : 'accepted'), $got eq $expected ? () : "violates \"$got\"");
}

sub result
{
	my ($name, @violations) = @_;

	print @violations ? 'not ok ' : 'ok ', ++$test, " - $name\n";
	print map { "# $_\n" } @violations;
}
