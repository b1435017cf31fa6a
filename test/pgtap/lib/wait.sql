-- wait.sql
--
-- Waiting for a condition, with a deadline in seconds. A procedure here only waits: when its deadline has passed it
-- goes on, and the assertion behind it fails. All are procedures because they commit between looks, so that neither
-- a snapshot nor statistics of an earlier look are seen again; so they cannot be called within a transaction.
--
-- Included by every file whose jobs run, which is all but 10_cron.

-- tap_wait_until sleeps until a query returns true.
CREATE PROCEDURE tap_wait_until(condition text, deadline float8 = 60) LANGUAGE plpgsql AS $$
DECLARE
	stop timestamptz := clock_timestamp() + make_interval(secs => deadline);
	met boolean;
BEGIN
	LOOP
		EXECUTE condition INTO met;
		COMMIT;
		EXIT WHEN met OR clock_timestamp() >= stop;
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

-- tap_wait_setting waits until jobs run under a setting: a session sees a reload only between its own commands,
-- so the worker is asked.
CREATE PROCEDURE tap_wait_setting(name text, wanted text, deadline float8 = 60) LANGUAGE plpgsql AS $$
DECLARE
	stop timestamptz := clock_timestamp() + make_interval(secs => deadline);
	probe bigint;
BEGIN
	LOOP
		probe := bgjob_enqueue('pg_catalog.current_setting(text)', jsonb_build_array(name));
		COMMIT;
		PERFORM bgjob_wait(probe, '5 s');
		COMMIT;
		EXIT WHEN bgjob_result(probe) = to_jsonb(wanted) OR clock_timestamp() >= stop;
	END LOOP;
END $$;

-- tap_idle waits until nothing waits and nothing runs, but for what is scheduled.
CREATE PROCEDURE tap_idle(deadline float8 = 60) LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_wait_until('SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN (''enqueued'', ''processing''))', deadline);
END $$;

-- tap_state_is waits until a job is in a state.
CREATE PROCEDURE tap_state_is(id bigint, wanted text, deadline float8 = 60) LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_wait_until(format('SELECT state = %L FROM bgjob.jobs WHERE id = %s', wanted, id), deadline);
END $$;

-- tap_held waits until one job has come to an advisory lock, and stays there since this session has it.
CREATE PROCEDURE tap_held(lock int, deadline float8 = 60) LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_wait_until(format('SELECT count(*) = 1 FROM pg_locks WHERE locktype = ''advisory'' AND objid = %s AND NOT granted', lock), deadline);
END $$;
