# The notes of a transaction and the rows of the bookkeeping do not grow with the work of a role, nor stop it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../t/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use BgjobTest;

my $node = bgjob_cluster('bookkeeping');

# ---- a million subtransactions ----

$node->safe_psql('postgres', q{
	CREATE PROCEDURE many(n int, fail boolean) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. n LOOP
			BEGIN
				PERFORM bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 h', queue => 'q' || i % 3);
				IF fail THEN RAISE division_by_zero; END IF;
			EXCEPTION WHEN division_by_zero THEN NULL;
			END;
		END LOOP;
	END $$});
for my $fail ('true', 'false')
{
	my $bytes = $node->safe_psql('postgres', qq{
		BEGIN;
		CALL many(20000, $fail);
		SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name = 'TopTransactionContext';
		ROLLBACK});
	cmp_ok($bytes, '<', 2_000_000, "20,000 subtransactions leave no notes behind: roll back = $fail");
}

# ---- the row of a key that an outsider has locked when its job ends ----

# leave_behind KEY ends a job whose key cannot be given up, and returns its id.
sub leave_behind
{
	my ($key) = @_;
	my $id = $node->safe_psql('postgres', "SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '1 h', unique_key => '$key')");

	$node->safe_psql('postgres', "BEGIN; SELECT FROM bgjob_internal.unique_key WHERE key = '$key' FOR UPDATE; PREPARE TRANSACTION 'lock'");
	is($node->safe_psql('postgres', "SELECT bgjob_delete($id)"), 't', "a job ends although its key is locked ($key)");
	return $id;
}

for my $on_duplicate (qw(skip replace reschedule error))
{
	my $old = leave_behind($on_duplicate);
	my $enqueue = qq{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', delay => '2 h', unique_key => '$on_duplicate', on_duplicate => '$on_duplicate')};
	my ($status, $out, $err) = $node->psql('postgres', "SET lock_timeout = '100ms'; $enqueue");

	like($err, qr/lock timeout/, "a call with a locked key waits ($on_duplicate)");
	$node->safe_psql('postgres', "ROLLBACK PREPARED 'lock'");
	($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = '20s'; $enqueue");
	is($status, 0, "the call succeeds when the lock is released ($on_duplicate)") or diag($err);
	cmp_ok($out, '>', $old, "the call enqueues a new job ($on_duplicate)");
	is($node->safe_psql('postgres', "SELECT count(*) FROM bgjob_internal.unique_key WHERE key = '$on_duplicate' AND job = $out"), 1, "the new job has the key ($on_duplicate)");
}

my $old = leave_behind('again');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'lock'");
is($node->safe_psql('postgres', "SET statement_timeout = '20s'; SELECT bgjob_requeue($old)"), 't', 'the job itself can be requeued');

# ---- a row that two transactions have locked ----

$node->safe_psql('postgres', q{SELECT bgjob_queue('held', paused => true)});
my $id = $node->safe_psql('postgres', q{SELECT bgjob_enqueue('SELECT 1', kind => 'sql', queue => 'held')});
$node->safe_psql('postgres', "BEGIN; SELECT FROM bgjob_internal.queue WHERE queue = 'held' FOR SHARE; PREPARE TRANSACTION 'share$_'") for 1, 2;
my ($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = '300ms'; SELECT bgjob_delete($id)");
like($err, qr/statement timeout/, 'a job whose row two transactions have locked is waited for');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'share$_'") for 1, 2;
is($node->safe_psql('postgres', "SELECT bgjob_delete($id)"), 't', 'the job is deleted when both transactions have ended');

done_testing();
