-- What goes on and what waits. Nothing below is waited for but the starts of jobs.
SELECT bgjob_limit('smtp', rate => 600, per => '1 minute'), bgjob_limit('erp', max_running => 1), bgjob_limit('openai', rate => 90000, per => '1 minute', algorithm => 'token_bucket'),
	bgjob_limit('tenant:*', max_running => 2), bgjob_limit('payments', max_running => 5), bgjob_limit('crawler', rate => 1, per => '1 hour', algorithm => 'fixed_window'),
	bgjob_limit_close('payments', delay => '2 hours'),
	bgjob_weight('tenant:*', 1), bgjob_weight('tenant:3', 4),
	bgjob_queue('newsletter', paused => true, max_length => 50000), bgjob_queue('search', max_running => 1), bgjob_queue('orders', group_size => 10) \g /dev/null

SET ROLE app;
SET search_path = shop, public;
SELECT bgjob_enqueue('import_products', '{"file": "supplier-north-2026-11.csv", "n": 184000, "seconds": 5400}', tags => '{supplier,nightly}', timeout => '3 hours'),
	bgjob_enqueue('import_products', '{"file": "price-list-q4.xlsx", "n": 52000, "seconds": 2400}', tags => '{supplier}', parameters => '{"requested_by": "mira"}'),
	bgjob_enqueue('reindex_catalogue', '{"part": "books", "seconds": 3000}', queue => 'search'),
	bgjob_enqueue('reindex_catalogue', '{"part": "garden", "seconds": 3000}', queue => 'search'),
	bgjob_enqueue('sync_erp', '{"customer_id": 1, "seconds": 3600}', limits => '{erp}', tags => '{erp}') \g /dev/null
SELECT bgjob_enqueue_many('sync_erp', (SELECT array_agg(jsonb_build_object('customer_id', n)) FROM generate_series(2, 15) AS n), limits => '{erp}', tags => '{erp}') \g /dev/null
SELECT bgjob_enqueue_many('charge_card', (SELECT array_agg(jsonb_build_object('order_id', n, 'amount', n)) FROM generate_series(1001, 1023) AS n),
	limits => '{payments}', tags => '{payment}') \g /dev/null
-- Two tenants that want more than their share.
SELECT bgjob_enqueue_many('export_orders', (SELECT array_agg(jsonb_build_object('tenant_id', (ARRAY[3, 7, 7, 7, 12])[1 + n % 5])) FROM generate_series(1, 160) AS n),
	limits => ARRAY['tenant:{tenant_id}']) \g /dev/null
SELECT bgjob_enqueue_many('post_event', array_agg(jsonb_build_object('customer_id', 42, 'event', event)), sequence_key => 'customer:{customer_id}', max_retries => 0)
FROM unnest(ARRAY['created', 'address_changed', 'ordered', 'paid', 'rated']) AS event \g /dev/null
SELECT bgjob_enqueue_many('send_mail', (SELECT array_agg(jsonb_build_object('recipient', 'reader' || n || '@mail.example', 'template', 'newsletter-48')) FROM generate_series(1, 2400) AS n),
	queue => 'newsletter', limits => '{smtp}', tags => '{newsletter}') \g /dev/null
SELECT bgjob_enqueue('close_day', '["2019-03-31"]', queue => 'legacy') FROM generate_series(1, 3) \g /dev/null
-- Later.
SELECT bgjob_enqueue('send_mail', jsonb_build_object('recipient', 'customer' || n || '@mail.example', 'template', 'rate_your_order'), delay => interval '7 minutes' * n, tags => '{followup}')
FROM generate_series(1, 40) AS n \g /dev/null
SELECT bgjob_enqueue('charge_card', '{"order_id": 7, "amount": 12345678901234567890.25}', run_at => now() + interval '2 days', unique_key => 'subscription:7', tags => '{subscription}') \g /dev/null
-- Retries that wait.
SELECT bgjob_enqueue('send_mail', jsonb_build_object('recipient', 'retry' || n || '@slow.example', 'template', 'shipped'), max_retries => 10, retry_delays => '{0,1 hour}') FROM generate_series(1, 5) AS n \g /dev/null
-- A release: its steps build on each other, and the last one waits for a signal.
SELECT bgjob_enqueue('release_step', '{"step": "build", "version": "2026.11"}', tags => '{release}') AS build \gset
SELECT array_agg(bgjob_enqueue('release_step', jsonb_build_object('step', step, 'version', '2026.11', 'seconds', seconds), after => ARRAY[:build]::bigint[], max_retries => 0, tags => '{release}')) AS tests
FROM (VALUES ('unit tests', 0), ('database tests', 0), ('browser tests', 0), ('load tests', 3600)) AS t (step, seconds) \gset
SELECT bgjob_enqueue('release_step', '{"step": "package", "version": "2026.11"}', after => :'tests'::bigint[], condition => 'finished', tags => '{release}') AS package \gset
SELECT bgjob_enqueue('release_step', '{"step": "deploy", "version": "2026.11"}', after => ARRAY[:package]::bigint[], after_signal => '{release-approved:2026.11}', tags => '{release}') AS deploy \gset
SELECT bgjob_enqueue('send_mail', '{"recipient": "team@shop.example", "template": "released"}', after => ARRAY[:deploy]::bigint[], tags => '{release}') \g /dev/null

-- Batches in each other: one goes on, one has been cancelled, one was empty of failures.
SELECT bgjob_batch('Black Friday catalogue', parameters => '{"season": "2026-11", "owner": "mira"}', unique_key => 'catalogue:2026-11') AS top \gset
SELECT bgjob_batch('Images', parent => :top) AS images, bgjob_batch('Prices', parent => :top) AS prices, bgjob_batch('Texts in eleven languages', parent => :top) AS texts \gset
SELECT bgjob_batch('Shoes', parent => :images) AS shoes, bgjob_batch('Garden', parent => :images) AS garden \gset
SELECT bgjob_enqueue_many('resize_image', (SELECT array_agg(jsonb_build_object('image_id', n, 'width', 1280)) FROM generate_series(1, 60) AS n), batch => :shoes),
	bgjob_enqueue_many('resize_image', (SELECT array_agg(jsonb_build_object('image_id', n, 'width', 1280)) FROM generate_series(31, 55) AS n), batch => :garden) \g /dev/null
SELECT bgjob_enqueue_many('update_stock', (SELECT array_agg(jsonb_build_object('sku', 'PRICE-' || n, 'delta', 0)) FROM generate_series(1, 40) AS n), batch => :prices),
	bgjob_enqueue_many('send_mail', (SELECT array_agg(jsonb_build_object('recipient', 'translator' || n || '@mail.example', 'template', 'please_translate')) FROM generate_series(1, 33) AS n),
		batch => :texts, queue => 'newsletter') \g /dev/null
SELECT bgjob_enqueue('reindex_catalogue', '["black friday"]', after_batch => :top, queue => 'index') \g /dev/null
SELECT bgjob_batch('Photos of the flagship store') AS cancelled \gset
SELECT bgjob_enqueue_many('resize_image', (SELECT array_agg(jsonb_build_object('image_id', n, 'width', 320)) FROM generate_series(1, 12) AS n), batch => :cancelled, delay => '1 day') \g /dev/null
SELECT bgjob_batch_cancel(:cancelled) \g /dev/null

-- What external workers have fetched.
SELECT bgjob_enqueue_many('thumbnail.render', (SELECT array_agg(jsonb_build_object('video', format('s3://media/%s.mp4', n), 'at', 2.5)) FROM generate_series(1, 30) AS n),
	kind => 'external', queue => 'video', tags => '{media}') \g /dev/null
SELECT bgjob_enqueue_many('webhook.deliver', (SELECT array_agg(jsonb_build_object('url', format('https://partner-%s.example/hook', n), 'event', 'order.paid')) FROM generate_series(1, 12) AS n),
	kind => 'external', queue => 'webhooks', max_retries => 0) \g /dev/null
SELECT array_agg(id) AS rendering FROM bgjob_fetch('{video}', 'gpu-1', 3, lease => '2 hours') \gset
SELECT count(*) FROM bgjob_fetch('{video}', 'gpu-2', 2, lease => '2 hours') \g /dev/null
SELECT array_agg(id) AS hooks FROM bgjob_fetch('{webhooks}', 'edge-fra-1', 9, lease => '2 hours') \gset
SELECT bgjob_external_progress(id, 'gpu-1', 35, 'frame 210 of 600'), bgjob_external_log(id, 'gpu-1', 'codec h264, 1920x1080') FROM unnest(:'rendering'::bigint[]) AS id LIMIT 2 \g /dev/null
SELECT bgjob_complete(id, 'edge-fra-1', '{"status": 204}') FROM unnest((:'hooks'::bigint[])[1:5]) AS id \g /dev/null
SELECT bgjob_fail(id, 'edge-fra-1', 'HTTP 410 Gone', '{"url": "https://partner-6.example/hook", "after_ms": 182}', retry => false) FROM unnest((:'hooks'::bigint[])[6:7]) AS id \g /dev/null

-- Recurring jobs. One has lost its function, and says so once its time has come.
SET bgjob.time_zone = 'Europe/Berlin';
SELECT bgjob_recurring('close the day', '30 2 * * *', 'close_day', queue => 'index', misfire => 'all'),
	bgjob_recurring('abandoned carts', '*/15 * * * *', 'abandon_carts', overlap => 'skip'),
	bgjob_recurring('stock from the warehouse', '*/5 8-20 * * MON-FRI', 'update_stock', '{"sku": "ALL", "delta": 0}'),
	bgjob_recurring('product photos', '0 * * * *', 'resize_image', '{"image_id": 1, "width": 200}'),
	bgjob_recurring('vacuum', '15 4 * * SUN', 'VACUUM (ANALYZE)', kind => 'sql', queue => 'index', tags => '{maintenance}'),
	bgjob_recurring('pay suppliers', '0 9 LW * *', 'abandon_carts', queue => 'critical', time_zone => 'Europe/Berlin'),
	bgjob_recurring('newsletter', '0 10 * * TUE#1', 'send_mail', '{"recipient": "list@shop.example", "template": "newsletter"}', active => false),
	bgjob_recurring('warm the cache', 'H/30 * * * *', 'visit', '[1]', jitter => '30 seconds', active => false),
	bgjob_recurring('exchange rates', '1 second', 'exchange_rates', ends_at => now() + interval '1 year') \g /dev/null
\if :{?traffic}
SELECT bgjob_recurring('traffic', '@every_second', 'traffic', queue => 'index') \g /dev/null
\endif
DROP FUNCTION exchange_rates();
SELECT bgjob_recurring_trigger(name) FROM unnest(ARRAY['close the day', 'abandoned carts', 'stock from the warehouse', 'product photos', 'vacuum']) AS name \g /dev/null
RESET ROLE;

SET ROLE reporting;
SET search_path = report, public;
SELECT bgjob_enqueue('monthly_report', '{"month": "2026-11-01", "seconds": 1800}', queue => 'reports', tags => '{board}') \g /dev/null
SELECT bgjob_recurring('sales by country', '0 6 * * MON-FRI', 'sales_by_country', queue => 'reports', time_zone => 'Europe/Paris'),
	bgjob_recurring('board report', '0 7 1 */3 *', 'monthly_report', '{"month": "2026-10-01"}', queue => 'reports', max_retries => 2) \g /dev/null
SELECT bgjob_recurring_trigger('sales by country') \g /dev/null
RESET ROLE;
RESET search_path;
UPDATE bgjob_internal.recurring SET created_at = now() - interval '40 days';

DO $$
BEGIN
	FOR i IN 1..3000 LOOP
		COMMIT;
		IF (SELECT count(*) >= 8 FROM bgjob.jobs WHERE state = 'processing' AND kind <> 'external')
			AND (SELECT count(*) >= 4 FROM bgjob.recurring_jobs WHERE last_state = 'succeeded')
			AND (SELECT count(*) = 1 FROM bgjob.recurring_jobs WHERE error IS NOT NULL) THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE EXCEPTION 'the jobs have not started';
END $$;
