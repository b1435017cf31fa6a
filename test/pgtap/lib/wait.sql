-- wait.sql
--
-- Waits for a condition, with a deadline in seconds. After the deadline a procedure returns, and the next assertion
-- fails. All are procedures: they commit between checks, so that each check has a new snapshot and new statistics. So
-- they cannot be called within a transaction.
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

-- tap_wait_setting waits until jobs run with a setting. A session sees a reload only between its own commands, so a job
-- reads the setting.
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

-- tap_idle waits until no job waits or runs, except for scheduled jobs.
CREATE PROCEDURE tap_idle(deadline float8 = 60) LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_wait_until('SELECT NOT EXISTS (SELECT FROM bgjob.jobs WHERE state IN (''enqueued'', ''processing''))', deadline);
END $$;

-- tap_state_is waits until a job is in a state.
CREATE PROCEDURE tap_state_is(id bigint, wanted text, deadline float8 = 60) LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_wait_until(format('SELECT state = %L FROM bgjob.jobs WHERE id = %s', wanted, id), deadline);
END $$;

-- tap_held waits until a job waits for an advisory lock that this session holds.
CREATE PROCEDURE tap_held(lock int, deadline float8 = 60) LANGUAGE plpgsql AS $$
BEGIN
	CALL tap_wait_until(format('SELECT count(*) = 1 FROM pg_locks WHERE locktype = ''advisory'' AND objid = %s AND NOT granted', lock), deadline);
END $$;

-- tap_wait_stopped waits until a new job of a queue does not start, and deletes its trial jobs.
CREATE PROCEDURE tap_wait_stopped(queue text, deadline float8 = 60) LANGUAGE plpgsql AS $$
DECLARE
	stop timestamptz := clock_timestamp() + make_interval(secs => deadline);
	probe bigint;
	started boolean;
BEGIN
	LOOP
		probe := bgjob_enqueue('SELECT 1', kind => 'sql', queue => queue);
		COMMIT;
		started := bgjob_wait(probe, '300 ms') IS NOT NULL;
		COMMIT;
		PERFORM bgjob_delete(probe);
		COMMIT;
		EXIT WHEN NOT started OR clock_timestamp() >= stop;
	END LOOP;
END $$;
