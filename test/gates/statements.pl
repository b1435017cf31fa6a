# Gate: the statements of the dashboard can be translated, and a wrong one is refused with its file and line.
#
#   perl statements.pl TREE                says TAP
use strict;
use warnings;
use File::Temp qw(tempdir);

my $tree   = shift // '.';
my $folder = tempdir(CLEANUP => 1);
my $test   = 0;

# translate FILE… returns the C text, or the complaint, and whether it is C.
sub translate
{
	my $text = `LC_ALL=C awk -f $tree/src/dashboard/statements.awk @_ 2>&1`;

	return ($text, $? == 0);
}

# planted NAME, TEXT writes a statement and translates it.
sub planted
{
	my ($name, $text) = @_;

	mkdir "$folder/sql";
	open my $file, '>', "$folder/sql/$name.sql" or die $!;
	print $file $text;
	close $file;
	return translate("$folder/sql/$name.sql");
}

my @wrong = (
	[ 'no comment',                    "SELECT 1\n",                                             1, 'does not begin with a comment' ],
	[ 'no statement',                  "-- Nothing.\n",                                          1, 'there is no statement' ],
	[ 'two statements',                "-- Two.\nSELECT 1;\nSELECT 2;\n",                        3, 'more than one statement' ],
	[ 'an unknown parameter',          "-- One.\n-- params: id bigint\nSELECT :id,\n  :name\n",  4, 'parameter "name" is not declared' ],
	[ 'a parameter that is not used',  "-- One.\n-- params: id bigint\nSELECT 1\n",              1, 'parameter "id" is not used' ],
	[ 'a parameter without a type',    "-- One.\n-- params: id\nSELECT :id\n",                   2, 'not a name and a type' ],
	[ 'an unknown type',               "-- One.\n-- params: id oid\nSELECT :id\n",               2, 'none of those of parameters' ],
	[ 'choices of another type',       "-- One.\n-- params: a int(1|2)\nSELECT :a\n",              2, 'none of those of parameters' ],
	[ 'a parameter that is there twice', "-- One.\n-- params: a int, a text\nSELECT :a\n",       2, 'declared twice' ],
	[ 'two lists of parameters',       "-- One.\n-- params: a int\n-- params: b int\nSELECT :a\n", 3, 'declared twice' ],
	[ 'a numbered parameter',          "-- One.\n\nSELECT \$1\n",                                3, 'parameters are written :name' ],
	[ 'a text without end',            "-- One.\nSELECT 'a\n",                                   2, 'does not end' ],
	[ 'a comment without end',         "-- One.\nSELECT 1 /* a\n",                               2, 'does not end' ]);
my @right = (
	[ 'a cast is no parameter',              "-- One.\nSELECT 'a'::text\n",                                    q{"SELECT 'a'::text"} ],
	[ 'nothing in quotes is one',            "-- One.\nSELECT ':a', \":b\", \$x\$:c\$x\$, E'\\':d'\n",         q{"SELECT ':a', \":b\", $x$:c$x$, E'\\\\':d'"} ],
	[ 'comments are left out',               "-- One.\nSELECT 1 -- :a\n/* :b */ + 2;\n",                       qq{"SELECT 1\\n"\n\t" + 2"} ],
	[ 'parameters and the schema are marked', "-- One.\n-- params: a int, b text = x\nSELECT \@bgjob\@.f(:b, :a)\n", q{"SELECT \001.f(\002B, \002A)"} ],
	[ 'a default is kept',                   "-- One.\n-- params: a int = 20\nSELECT :a\n",                    q({"a", "int", "20", NULL, false}) ],
	[ 'NULL is none',                        "-- One.\n-- params: a int[] = NULL\nSELECT :a\n",                q({"a", "int[]", NULL, NULL, false}) ],
	[ 'choices are kept',                    "-- One.\n-- params: a text(b|c) = b\nSELECT :a\n",             q({"a", "text", "b", "b|c", false}) ],
	[ 'an optional argument is one',         "-- One.\n-- params: a int, b int[]?\nSELECT :a, :b\n",            q({"b", "int[]", NULL, NULL, true}) ],
	[ 'the settings of the role are asked for', "-- One.\nSELECT 1\n\@from_role\@\n",                        q("\003") ],
	[ 'beside other tables',                 "-- One.\nSELECT 1 FROM a\n\@join_role\@\nWHERE true\n",       q("\004\n") ]);

printf "1..%d\n", 1 + @wrong + @right;
my ($said, $is_c) = translate(glob "$tree/src/dashboard/{sql,actions,internal}/*.sql");
result('the statements of the dashboard are translated', $is_c ? () : $said);
for (@wrong)
{
	my ($what, $text, $line, $complaint) = @{$_};

	($said, $is_c) = planted('planted', $text);
	result("$what: refused", !$is_c && $said =~ /planted\.sql:$line: .*\Q$complaint\E/ ? () : $said);
}
for (@right)
{
	my ($what, $text, $expected) = @{$_};

	($said, $is_c) = planted('planted', $text);
	result($what, $is_c && index($said, $expected) >= 0 ? () : $said);
}

sub result
{
	my ($name, $violation) = @_;

	print defined $violation ? 'not ok ' : 'ok ', ++$test, " - $name\n";
	print map { "# $_\n" } split /\n/, $violation // '';
}
