# Roles may administer by GRANT, as owner of a function or as owner of the database; none gains further privileges.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('administration');
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE ops LOGIN; CREATE ROLE dbowner LOGIN; CREATE ROLE monitor LOGIN; CREATE ROLE lookout LOGIN;
	GRANT USAGE ON SCHEMA bgjob TO app, other, ops, lookout;
	GRANT pg_monitor TO monitor, lookout;
	CREATE SCHEMA app AUTHORIZATION app; CREATE SCHEMA ops AUTHORIZATION ops; GRANT USAGE ON SCHEMA app, ops TO PUBLIC;
	CREATE FUNCTION admins(c jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
	CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS 'SELECT';
	SET SESSION AUTHORIZATION app;
	CREATE FUNCTION app.f(x int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT x';
	RESET SESSION AUTHORIZATION;
	SET SESSION AUTHORIZATION ops;
	CREATE FUNCTION ops.filter(c jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT '{"args": [7], "tags": ["seen"]}'::jsonb$$;
});

sub reply
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSET SESSION AUTHORIZATION $role; $sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $err =~ /ERROR:\s+(\w{5})/ ? $1 : $out;
}

my %administration = (
	bgjob_queue => q{SELECT bgjob_queue('q', group_size => 2)},
	bgjob_queue_pause => q{SELECT bgjob_queue_pause('q')},
	bgjob_queue_resume => q{SELECT bgjob_queue_resume('q')},
	bgjob_queue_remove => q{SELECT bgjob_queue_remove('q')},
	bgjob_limit => q{SELECT bgjob_limit('l', 1)},
	bgjob_limit_remove => q{SELECT bgjob_limit_remove('l')},
	bgjob_weight => q{SELECT bgjob_weight('k', 2)},
	bgjob_server => q{SELECT bgjob_server('s', '{sq}', 1)},
	bgjob_server_pause => q{SELECT bgjob_server_pause('s')},
	bgjob_server_resume => q{SELECT bgjob_server_resume('s')},
	bgjob_server_remove => q{SELECT bgjob_server_remove('s')},
	bgjob_function_stats_reset => q{SELECT bgjob_function_stats_reset()},
	bgjob_filter => q{SELECT bgjob_filter('f', 'creating', 'ops.filter')},
	bgjob_filter_remove => q{SELECT bgjob_filter_remove('f')},
	bgjob_adopt => q{SELECT bgjob_adopt()});
my @names = qw(bgjob_queue bgjob_queue_pause bgjob_queue_resume bgjob_queue_remove bgjob_limit bgjob_limit_remove bgjob_weight
	bgjob_server bgjob_server_pause bgjob_server_resume bgjob_server_remove bgjob_function_stats_reset bgjob_filter bgjob_filter_remove bgjob_adopt);

is(reply('ops', $administration{$_}), '42501', "$_ is not PUBLIC's") for @names;
for my $name (@names)
{
	$node->safe_psql('postgres', "GRANT EXECUTE ON FUNCTION $name TO ops");
	unlike(reply('ops', $administration{$name}), qr/^\d{5}$/, "$name after GRANT EXECUTE");
}
is(reply('other', $administration{bgjob_queue}), '42501', 'the grant does not give the right to another role');

# ---- a filter of a role with EXECUTE ----

is(reply('ops', q{SELECT bgjob_filter('mine', 'creating', 'admins')}), '42501', 'a function of another role is not made a filter');
is(reply('ops', q{SELECT bgjob_filter('f', 'creating', 'ops.filter')}), '', 'a function of its own can be made a filter');
sub args_of { my ($role, $job) = @_; my $id = reply($role, "SELECT bgjob_enqueue($job, delay => '1 hour')"); return $node->safe_psql('postgres', "SELECT args FROM bgjob.jobs WHERE id = $id") }
my $call = q{'app.f', '[1]'};
is(args_of('ops', $call), '[7]', 'the filter is called for jobs of its own role');
is(args_of($_, $call), '[1]', "the filter is not called for jobs of $_") for 'app', 'postgres';
$node->safe_psql('postgres', 'GRANT app TO ops');
is(args_of('app', $call), '[7]', 'for those of a role that he is a member of');
$node->safe_psql('postgres', 'REVOKE app FROM ops');
is(args_of('app', $call), '[1]', 'the filter is not called after the membership was revoked');

# An endless filter delays only the due jobs of the role that added it.
$node->safe_psql('postgres', q{SET SESSION AUTHORIZATION ops; CREATE FUNCTION ops.hang(c jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE WHEN c ->> 'from' = 'scheduled' THEN to_jsonb(pg_sleep(60)::text) END$$; SELECT bgjob_filter('hang', 'electing', 'ops.hang')});
my @due = map { reply('ops', q{SELECT bgjob_enqueue('app.f', delay => '100 ms')}) } 1 .. 20;
my $other = reply('app', q{SELECT bgjob_enqueue('app.f', delay => '200 ms')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($other, '60 s')"), 'succeeded', 'a due job of another role runs');
is($node->safe_psql('postgres', "SELECT state NOT IN ('failed', 'succeeded') FROM bgjob.jobs WHERE id = $due[19]"), 't', 'the due job of the other role does not wait for these');
is($node->safe_psql('postgres', "SELECT bgjob_wait($due[0], '60 s')"), 'failed', 'a job of the owner of the filter fails');
is(reply('ops', q{SELECT bgjob_filter_remove('hang')}), 't', 'the owner of the filter removes it');

is(reply('postgres', q{SELECT bgjob_filter('f', 'creating', 'ops.filter')}), '', 'an administrator adds a filter of another role');
is(args_of('app', $call), '[7]', 'is for all');
is(reply('ops', q{SELECT bgjob_filter_remove('f')}), '42501', 'the owner of its function cannot remove that filter');
is(reply('ops', q{SELECT bgjob_filter('f', 'created', 'ops.filter')}), '42501', 'the owner of its function cannot replace that filter');
$node->safe_psql('postgres', 'ALTER FUNCTION ops.filter(jsonb) OWNER TO postgres');
is(reply('app', "SELECT bgjob_enqueue($call)"), '42501', 'a function that has been given to another role does not run as that');
is(reply('postgres', q{SELECT bgjob_filter_remove('f')}), 't', 'an administrator removes it');

# ---- functions ----

is(reply('app', q{SELECT bgjob_configure('app.f', queue => 'mail')}), '', 'the owner of a function configures it');
is(reply('other', q{SELECT bgjob_enqueue('app.f') > 0; SELECT queue FROM bgjob.functions}), "t\nmail", 'for all who call it');
is(reply('other', q{SELECT bgjob_configure('app.f', queue => 'other')}), '42501', 'another role does not');
is(reply('other', q{SELECT bgjob_unconfigure('app.f')}), '42501', 'another role cannot unconfigure the function');
is(reply('other', q{SELECT bgjob_unconfigure('app.f(integer)')}), '42501', 'by the signature, too');
is(reply('app', q{SELECT bgjob_configure('nothing', queue => 'mail')}), '42501', 'the owner configures no other function');
is(reply('app', q{SELECT bgjob_unconfigure('app.f')}), 't', 'the owner does');
$node->safe_psql('postgres', q{GRANT EXECUTE ON FUNCTION bgjob_configure, bgjob_unconfigure TO other; CREATE FUNCTION gone() RETURNS int LANGUAGE sql AS 'SELECT 1'});
is(reply('other', q{SELECT bgjob_configure('app.f', queue => 'other'), bgjob_configure('gone', queue => 'other')}), '|', 'a role with EXECUTE granted by name configures any function');
$node->safe_psql('postgres', 'DROP FUNCTION gone()');
is(reply('app', q{SELECT bgjob_unconfigure('public.gone()')}), '42883', 'a role without that grant cannot remove the configuration of a missing function');
is(reply('other', q{SELECT bgjob_unconfigure('public.gone()')}), 't', 'a role with EXECUTE granted by name can');

# ---- the owner of the database ----

is(reply('dbowner', $administration{bgjob_queue}), '42501', 'a role that owns nothing');
$node->safe_psql('postgres', 'ALTER DATABASE postgres OWNER TO dbowner');
unlike(reply('dbowner', $administration{$_}), qr/^\d{5}$/, "the database's owner: $_") for grep { /queue|server|stats|limit|weight/ } @names;
is(reply('dbowner', $administration{$_}), '42501', "the owner of the database cannot call $_") for grep { !/queue|server|stats|limit|weight/ } @names;
is(reply('dbowner', q{SELECT bgjob_configure('nothing', queue => 'other'), bgjob_unconfigure('nothing')}), '|t', 'the owner of the database configures functions');
is(reply('dbowner', q{SELECT count(*) FROM bgjob.jobs}), '0', 'the owner of the database sees no jobs of other roles');
$node->safe_psql('postgres', 'ALTER DATABASE postgres OWNER TO postgres');
is(reply('dbowner', $administration{bgjob_queue}), '42501', 'the former owner does nothing of it');

# ---- to see and to use are two grants ----

my $id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 1 AS one', kind => 'sql')});
is($node->safe_psql('postgres', "SELECT bgjob_wait($id, '60 s')"), 'succeeded', 'a job');
is(reply('monitor', "SELECT state FROM bgjob.jobs WHERE id = $id"), 'succeeded', 'a member of pg_monitor sees without a grant');
is(reply('monitor', "SELECT bgjob_result($id)"), '[{"one": 1}]', 'the result, too');
is(reply('monitor', "SELECT bgjob_wait($id)"), 'succeeded', 'a member of pg_monitor may wait for the job');
is(reply('monitor', "SELECT count(*) >= 0 FROM bgjob.$_"), 't', "bgjob.$_") for qw(jobs job_states job_logs queues functions function_stats metrics servers workers stats stats_history recurring_jobs filters);
is(reply('monitor', $_), '42501', "but not: $_") for q{SELECT bgjob_enqueue('nothing')}, q{SELECT bgjob_enqueue_many('nothing', '{NULL}')}, q{SELECT bgjob_recurring('r', '@daily', 'nothing')}, "SELECT bgjob_delete($id)",
	q{SELECT bgjob_purge('succeeded')}, q{CREATE TEMP TABLE t (i int); CREATE TRIGGER t AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('nothing', 'columns=i'); INSERT INTO t VALUES (1)};
is(reply('lookout', q{SELECT bgjob_enqueue('nothing') > 0}), 't', 'a member of pg_monitor with a grant to itself can enqueue');
$node->safe_psql('postgres', 'GRANT USAGE ON SCHEMA bgjob TO PUBLIC');
is(reply('monitor', q{SELECT bgjob_enqueue('nothing') > 0}), 't', 'a member of pg_monitor can enqueue with a grant to PUBLIC');
$node->stop;
done_testing();
