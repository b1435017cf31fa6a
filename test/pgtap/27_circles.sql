-- 27_circles.sql
--
-- What this file proves about jobs that would await themselves (doc/manual.md, Composing jobs):
--   * a job cannot join a batch that it awaits: directly, in a batch in it, over a job, over another batch;
--   * it is refused with 22023, and nothing of it remains; what closes no circle is accepted;
--   * a batch of the same transaction that nobody awaits is filled without a search: its jobs may await a batch of more than 100,000 jobs, in no time;
--   * a batch that others await may not, since the search has a limit (54000).
--
-- Runs in one transaction, which is rolled back: nothing is performed.

\ir lib/session.sql

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS bgjob;

BEGIN;
SELECT plan(13);

CREATE FUNCTION refused(batch bigint, after bigint[] = NULL, after_batch bigint = NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM bgjob_enqueue('SELECT 1', batch => refused.batch, after => refused.after, after_batch => refused.after_batch);
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;

SELECT bgjob_batch('a') AS a, bgjob_batch('b') AS b, bgjob_batch('c') AS c \gset
SELECT bgjob_batch('in a', parent => :a) AS in_a \gset
SELECT bgjob_enqueue('SELECT 1', batch => :a) AS first \gset

SELECT is(refused(:a, after_batch => :a), '22023', 'a job cannot join the batch that it awaits');
SELECT is(refused(:in_a, after_batch => :a), '22023', 'nor one in it');
SELECT is(refused(:a, after_batch => :in_a), 'accepted', 'it can await a batch in its own');
SELECT bgjob_enqueue('SELECT 1', after_batch => :a) AS behind_a \gset
SELECT is(refused(:a, after => ARRAY[:behind_a]), '22023', 'it cannot await a job that awaits its batch');
SELECT bgjob_enqueue('SELECT 1', after => ARRAY[:behind_a]) AS behind \gset
SELECT is(refused(:in_a, after => ARRAY[:behind]), '22023', 'nor one that awaits such a job');
SELECT is(refused(:b, after => ARRAY[:behind]), 'accepted', 'a job of another batch can');
SELECT is(refused(:a, after_batch => :b), '22023', 'after that, jobs of the first batch cannot await the other one');
SELECT is(refused(:c, after_batch => :b), 'accepted', 'those of a third one can');
SELECT is(refused(:a, after_batch => :c), '22023', 'and those of the first one not the third, either');
SELECT is((SELECT total FROM bgjob.batches WHERE id = :a), 2::bigint, 'nothing remains of what was refused');

-- Many.
SELECT bgjob_batch('many') AS many, bgjob_batch('next') AS next, bgjob_batch('awaited') AS awaited \gset
SELECT count(*) AS x FROM bgjob_enqueue_many('SELECT 1', array_fill(NULL::jsonb, '{100001}'), batch => :many) \gset
SELECT clock_timestamp() AS begin \gset
SELECT is((SELECT count(*) FROM generate_series(1, 100) WHERE refused(:next, after_batch => :many) = 'accepted'), 100::bigint,
    'jobs of an own batch that nobody awaits can await a batch of 100,001 jobs');
SELECT ok(clock_timestamp() - :'begin' < interval '5 s', 'and that batch is not searched for each of them');
SELECT bgjob_enqueue('SELECT 1', after_batch => :awaited) AS x \gset
SELECT is(refused(:awaited, after_batch => :many), '54000', 'jobs of a batch that is awaited cannot');

SELECT * FROM finish();
ROLLBACK;
