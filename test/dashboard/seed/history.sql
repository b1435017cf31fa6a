-- The statistics of the last two weeks: hours like the present one, more by day than by night and fewer at the weekend. The scheduler
-- makes the days of them.
DO $$
BEGIN
	FOR i IN 1..1000 LOOP
		COMMIT;
		IF (SELECT sum(succeeded) > 2000 FROM bgjob_internal.stats_hour) THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE EXCEPTION 'the statistics have not been written';
END $$;

-- How busy the shop is at a time.
CREATE FUNCTION pg_temp.busy(at timestamptz) RETURNS float LANGUAGE sql AS $$
	SELECT (0.75 - 0.4 * cos((extract(hour FROM at)::float - 2) * pi() / 12)) * CASE WHEN extract(isodow FROM at) > 5 THEN 0.6 ELSE 1 END
$$;

INSERT INTO bgjob_internal.stats_hour
SELECT past, s.role, s.queue, s.enqueued * f, s.succeeded * f, s.failed * f * bad, s.deleted * f, s.retried * f * bad, 0, 0, s.throttled * f, s.cpu_time * f, s.wal_bytes * f,
	like_.runs, like_.run_time, like_.waits, like_.wait_time, like_.run_histogram, like_.wait_histogram, false
FROM bgjob_internal.stats_hour AS s
CROSS JOIN LATERAL (
	SELECT s.at - interval '1 hour' * n AS past FROM generate_series(1, 14 * 24) AS n
) AS hours
CROSS JOIN LATERAL (
	SELECT pg_temp.busy(past) / pg_temp.busy(now()) * (0.9 + 0.2 * random()) AS f,
		CASE WHEN extract(hour FROM past) = 13 AND extract(day FROM past)::int % 3 = 0 THEN 9 ELSE random() * 1.4 END AS bad
) AS factor
-- How long jobs took in that hour: as in some queue of the present one.
CROSS JOIN LATERAL (
	SELECT o.* FROM bgjob_internal.stats_hour AS o WHERE o.at = s.at AND o.runs > 0 ORDER BY md5(o.queue || o.role || s.queue || hours.past) LIMIT 1
) AS like_
-- Not every queue has jobs in every hour.
WHERE s.at > now() - interval '2 hours' AND (s.queue IN ('mail', 'critical', 'orders') OR random() < 0.5);
