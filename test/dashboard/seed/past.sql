-- What has ended: the jobs are enqueued and run, then their times are spread over the last day.
SET ROLE app;
SET search_path = shop, public;
SELECT bgjob_configure('send_mail', queue => 'mail', max_retries => 3, retry_delays => '{0}'),
	bgjob_configure('charge_card', queue => 'critical', max_retries => 0),
	bgjob_configure('update_stock', queue => 'orders', retry_delays => '{0}'),
	bgjob_configure('resize_image', queue => 'default', max_retries => 1, retry_delays => '{0}'),
	bgjob_configure('import_products', queue => 'imports', max_retries => 2),
	bgjob_configure('export_orders', queue => 'exports', fairness_key => 'tenant:{tenant_id}') \g /dev/null

-- Orders, with all that follows from one; every line of the loop is a commit.
CREATE PROCEDURE pg_temp.day() LANGUAGE plpgsql AS $$
DECLARE
	images bigint;
BEGIN
	FOR hour IN 0..22 LOOP
		PERFORM bgjob_enqueue_many('send_mail', array_agg(jsonb_build_object(
				'recipient', (ARRAY['ann', 'bob', 'carla', 'dmitri', 'eve', 'farid', 'gül', 'hana'])[1 + n % 8] || n || '@' ||
					CASE WHEN n % 39 = 0 THEN 'slow.example' WHEN n % 53 = 0 THEN 'gone.example' WHEN n % 47 = 0 THEN 'unsubscribed.example' ELSE 'mail.example' END,
				'template', (ARRAY['order_confirmation', 'shipped', 'invoice', 'welcome'])[1 + n % 4],
				'locale', (ARRAY['en', 'de', 'fr'])[1 + n % 3])),
			tags => CASE hour % 3 WHEN 0 THEN '{transactional,vip}'::text[] ELSE '{transactional}' END,
			parameters => jsonb_build_object('campaign', 'autumn-' || hour % 4))
		FROM generate_series(hour * 30 + 1, hour * 30 + 30) AS n;
		PERFORM bgjob_enqueue_many('charge_card', array_agg(jsonb_build_object('order_id', n, 'amount', 5 + n % 190 + 0.90)),
			priority => 10, tags => '{payment}', max_retries => 0)
		FROM generate_series(hour * 20 + 1, hour * 20 + 20) AS n;
		PERFORM bgjob_enqueue_many('create_invoice', array_agg(jsonb_build_object('order_id', n, 'amount', 5 + n % 190)),
			queue => 'orders', max_retries => 0)
		FROM generate_series(hour * 10 + 1, hour * 10 + 10) AS n;
		PERFORM bgjob_enqueue_many('update_stock', array_agg(jsonb_build_object('sku', 'SKU-' || n, 'delta', -1 - n % 3)))
		FROM generate_series(hour * 10 + 1, hour * 10 + 10) AS n;
		IF hour % 6 = 1 THEN
			images := bgjob_batch(format('Photos of collection %s', hour), parameters => '{"studio": "north"}');
			PERFORM bgjob_enqueue_many('resize_image', array_agg(jsonb_build_object('image_id', n, 'width', 640)), batch => images)
			FROM generate_series(hour * 20 + 1, hour * 20 + 40) AS n;
			PERFORM bgjob_enqueue('import_products', jsonb_build_object('file', format('supplier-%s.csv', hour), 'n', 12000 + hour * 310));
			PERFORM bgjob_enqueue('reindex_catalogue', '["shoes"]', queue => 'index');
			PERFORM bgjob_enqueue('SELECT count(*) FROM shop.orders WHERE amount > $1', '[100]', kind => 'sql', queue => 'index');
			PERFORM bgjob_enqueue('REFRESH MATERIALIZED VIEW shop.sales', kind => 'sql', queue => 'index', tags => '{maintenance}');
			PERFORM bgjob_enqueue('VACUUM (ANALYZE) shop.orders', kind => 'sql', queue => 'index', tags => '{maintenance}');
		END IF;
		COMMIT;
	END LOOP;
END $$;
CALL pg_temp.day();

SELECT bgjob_enqueue('SELECT pg_sleep(3600)', kind => 'sql', queue => 'index', timeout => '20 ms', max_retries => 0, tags => '{maintenance}') FROM generate_series(1, 3) \g /dev/null
SELECT bgjob_enqueue('INSERT INTO shop.orders VALUES ($1, 1, 2)', '[1]', kind => 'sql', queue => 'index', max_retries => 0) \g /dev/null

-- What recurring jobs have enqueued: carts each quarter of an hour, photos each hour, of which some fail. Their names come below.
SELECT bgjob_enqueue('abandon_carts', queue => 'index') FROM generate_series(1, 40) \g /dev/null
SELECT bgjob_enqueue('resize_image', jsonb_build_object('image_id', CASE WHEN n IN (2, 3, 6) THEN 0 ELSE n END, 'width', 200)) FROM generate_series(1, 9) AS n \g /dev/null

-- A fan-out of a thousand and a join.
SELECT bgjob_enqueue('extract_events', '["2026-11-28"]', tags => '{pipeline}') AS root \gset
SELECT bgjob_enqueue('load_events', '["2026-11-28"]', after => (SELECT array_agg(part) FROM bgjob_enqueue_many('transform_events',
	(SELECT array_agg(jsonb_build_array(n)) FROM generate_series(1, 1000) AS n), after => ARRAY[:root]::bigint[], tags => '{pipeline}') AS part),
	tags => '{pipeline}') AS joined \gset
SELECT bgjob_enqueue('send_mail', '{"recipient": "data@shop.example", "template": "events_loaded"}', after => ARRAY[:joined]::bigint[],
	tags => '{pipeline}') \g /dev/null

SELECT bgjob_signal('release-approved:2026.10', '{"by": "mira", "ticket": "OPS-1431"}'), bgjob_signal('warehouse-counted') \g /dev/null
RESET ROLE;
SET ROLE reporting;
SET search_path = report, public;
SELECT bgjob_enqueue('monthly_report', jsonb_build_object('month', format('2026-%s-01', lpad(n::text, 2, '0'))), queue => 'reports')
FROM generate_series(5, 10) AS n \g /dev/null
SELECT bgjob_enqueue('sales_by_country', queue => 'reports', tags => '{daily}') FROM generate_series(1, 12) \g /dev/null
SELECT bgjob_enqueue('SELECT amount FROM shop.orders LIMIT 1', kind => 'sql', queue => 'reports', max_retries => 0) \g /dev/null
RESET ROLE;

DO $$
BEGIN
	FOR i IN 1..6000 LOOP
		COMMIT;
		IF (SELECT enqueued + processing + scheduled + awaiting = 0 FROM bgjob.stats) THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE EXCEPTION 'the jobs have not ended';
END $$;

-- Some that failed are deleted by hand, some are requeued in vain.
SELECT bgjob_delete(id) FROM (SELECT id FROM bgjob.jobs WHERE state = 'failed' AND job LIKE '%charge_card%' ORDER BY id LIMIT 2) AS f \g /dev/null

-- From now on only times change. A job's place in the day follows from its id: more by day than by night. Its wait is made short, its
-- run longer, so that there are runs of milliseconds and of minutes.
CREATE TEMP TABLE moved AS
SELECT j.id, j.created_at AS old, now() - interval '23 hours' * (1 - (x + 0.06 * sin(12.566 * x))) AS new, j.states IS NULL AS simple,
	CASE WHEN c.name LIKE '%import%' THEN 9000 WHEN c.name LIKE '%report%' THEN 12000 WHEN c.name LIKE '%reindex%' THEN 4000 WHEN c.name LIKE '%resize%' THEN 120
		WHEN c.name LIKE '%transform%' THEN 400 WHEN c.name LIKE '%charge%' THEN 60 ELSE 12 END * (0.5 + random()) AS k
FROM (SELECT *, percent_rank() OVER (ORDER BY id) AS x FROM bgjob_internal.job WHERE state IN ('k', 'f', 'd')) AS j
JOIN bgjob.jobs v USING (id) CROSS JOIN LATERAL (SELECT v.job AS name) AS c;
UPDATE bgjob_internal.job AS j
SET created_at = m.new, entered_at = NULL,
	started_at = m.new + interval '1 ms' * (2 + 60 * random() ^ 4),
	finished_at = m.new + interval '1 ms' * 62 + (j.finished_at - coalesce(j.started_at, j.finished_at)) * m.k
FROM moved AS m WHERE m.id = j.id AND m.simple;
UPDATE bgjob_internal.job AS j
SET created_at = m.new, entered_at = m.new + (j.entered_at - m.old) * 50, started_at = m.new + (j.started_at - m.old) * 50,
	finished_at = m.new + (j.finished_at - m.old) * 50
FROM moved AS m WHERE m.id = j.id AND NOT m.simple;
UPDATE bgjob_internal.state AS s SET at = m.new + (s.at - m.old) * 50 FROM moved AS m WHERE m.id = s.job;
UPDATE bgjob_internal.log AS l SET at = m.new + (l.at - m.old) * CASE WHEN m.simple THEN 0 ELSE 50 END + interval '70 ms' + interval '3 ms' * l.seq FROM moved AS m WHERE m.id = l.job;
UPDATE bgjob_internal.batch AS b
SET created_at = j.first, finished_at = j.last
FROM (SELECT batch_id, min(created_at) AS first, max(finished_at) AS last FROM bgjob_internal.job GROUP BY batch_id) AS j
WHERE j.batch_id = b.id;
UPDATE bgjob_internal.signal SET at = now() - interval '5 hours' * random();
-- Those of recurring jobs stand at the times of their schedules.
UPDATE bgjob_internal.job AS j
SET recurring_name = r.name, created_at = r.at, started_at = r.at + (j.started_at - j.created_at), finished_at = r.at + (j.finished_at - j.created_at),
	entered_at = r.at + (j.entered_at - j.created_at)
FROM (SELECT v.id, 'abandoned carts' AS name, date_trunc('hour', now()) - interval '15 minutes' * row_number() OVER (ORDER BY v.id DESC) AS at
	FROM bgjob.jobs AS v WHERE v.job = 'abandon_carts'
	UNION ALL
	SELECT v.id, 'product photos', date_trunc('hour', now()) - interval '1 hour' * (row_number() OVER (ORDER BY v.id DESC) - 1)
	FROM bgjob.jobs AS v WHERE v.job = 'resize_image' AND v.args ->> 'width' = '200') AS r
WHERE r.id = j.id;
