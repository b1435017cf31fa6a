-- The application: what its jobs do is mostly to sleep, to report progress, and to fail now and then.
CREATE SCHEMA shop AUTHORIZATION app;
CREATE SCHEMA report AUTHORIZATION reporting;
GRANT USAGE ON SCHEMA shop TO reporting;
SET ROLE app;
SET search_path = shop, public;

CREATE TABLE orders (
	id int PRIMARY KEY,
	customer_id int NOT NULL,
	amount numeric NOT NULL,
	placed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO orders SELECT n, n % 300, 5 + n % 190 FROM generate_series(1, 2000) AS n;
CREATE MATERIALIZED VIEW sales AS SELECT customer_id, sum(amount) AS amount FROM orders GROUP BY customer_id;
CREATE TABLE invoice (number text PRIMARY KEY, order_id int NOT NULL);
INSERT INTO invoice SELECT 'R-2026-' || n, n FROM generate_series(40, 2000, 40) AS n;

CREATE FUNCTION send_mail(recipient text, template text, locale text DEFAULT 'en') RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(random() * 0.004);
	IF recipient LIKE '%@slow.example' THEN
		RAISE connection_failure USING MESSAGE = 'could not connect to mail server "mx2.slow.example": Connection timed out';
	ELSIF recipient LIKE '%@gone.example' THEN
		RAISE SQLSTATE 'M0550' USING MESSAGE = format('550 5.1.1 <%s>: recipient address rejected', recipient),
			HINT = 'The address is on the list of bounces from now on.';
	ELSIF recipient LIKE '%@unsubscribed.example' THEN
		PERFORM bgjob_discard('The customer has unsubscribed');
	END IF;
	PERFORM bgjob_log(format('250 2.0.0 Ok: queued as %s', upper(substr(md5(recipient), 1, 10))));
	RETURN jsonb_build_object('message_id', substr(md5(recipient || template), 1, 16) || '@shop.example', 'locale', locale);
END $$;

CREATE FUNCTION create_invoice(order_id int, amount numeric) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(random() * 0.004);
	INSERT INTO shop.invoice VALUES ('R-2026-' || order_id, order_id);
	RETURN 'R-2026-' || order_id;
END $$;

CREATE FUNCTION charge_card(order_id int, amount numeric, currency text DEFAULT 'EUR') RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(random() * 0.004);
	IF order_id % 61 = 0 THEN
		RAISE EXCEPTION 'card declined: insufficient funds'
			USING DETAIL = format('Order %s, %s %s, attempt with card **** 4242.', order_id, amount, currency),
				HINT = 'Ask the customer for another way of paying.';
	END IF;
	RETURN jsonb_build_object('authorization', 9007199254740993 + order_id, 'amount', amount);
END $$;

CREATE FUNCTION update_stock(sku text, delta int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(random() * 0.002);
	IF sku LIKE '%7' AND (SELECT retries = 0 FROM bgjob.jobs WHERE id = bgjob_current_id()) THEN
		RAISE serialization_failure USING MESSAGE = 'could not serialize access due to concurrent update';
	END IF;
	RAISE NOTICE 'stock of % changed by %', sku, delta;
END $$;

CREATE FUNCTION resize_image(image_id bigint, width int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(random() * 0.004);
	PERFORM bgjob_log(format('decoding image %s', image_id), 'debug');
	IF image_id % 29 = 0 THEN
		PERFORM bgjob_log('the header promises no pixels', 'warning');
	END IF;
	RETURN 1000 * width / (image_id % 29);
END $$;

-- Reports its progress a row at a time, for so many seconds.
CREATE FUNCTION import_products(file text, n int, seconds numeric DEFAULT 0) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM bgjob_log(format('%s: %s rows', file, n));
	FOR i IN 1..100 LOOP
		PERFORM bgjob_progress(i, format('row %s of %s', i * n / 100, n));
		PERFORM pg_sleep(seconds / 100);
		IF i % 25 = 0 THEN
			PERFORM bgjob_log(format('%s rows imported', i * n / 100));
		ELSIF i = 40 THEN
			PERFORM bgjob_log(format('row %s: price without a currency, EUR assumed', i * n / 100), 'warning');
		END IF;
	END LOOP;
	RETURN jsonb_build_object('rows', n, 'inserted', n / 3, 'updated', n - n / 3);
END $$;

CREATE FUNCTION export_orders(tenant_id int, format text DEFAULT 'csv') RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..40 LOOP
		PERFORM bgjob_progress(i * 2.5, format('tenant %s: %s orders written', tenant_id, i * 50));
		PERFORM pg_sleep(0.5);
	END LOOP;
	RETURN 2000;
END $$;

CREATE PROCEDURE reindex_catalogue(part text, seconds numeric DEFAULT 0) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..20 LOOP
		PERFORM bgjob_progress(i * 5, format('%s: segment %s of 20', part, i));
		PERFORM pg_sleep(seconds / 20);
		COMMIT;
	END LOOP;
END $$;

CREATE FUNCTION sync_erp(customer_id int, seconds numeric DEFAULT 0) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(seconds);
END $$;

-- The first of a customer's events that the other system does not accept holds up those that follow.
CREATE FUNCTION post_event(customer_id int, event text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF event = 'address_changed' THEN
		RAISE EXCEPTION 'the CRM answered 422: "postcode" is missing' USING ERRCODE = 'X0422',
			DETAIL = '{"errors": [{"field": "postcode", "code": "required"}]}';
	END IF;
END $$;

-- A tiny pipeline: one extracts, a thousand transform, one loads.
CREATE FUNCTION extract_events(day date) RETURNS int LANGUAGE sql AS 'SELECT 1000';
CREATE FUNCTION transform_events(part int) RETURNS int LANGUAGE sql AS 'SELECT part * part';
CREATE FUNCTION load_events(day date) RETURNS bigint LANGUAGE sql AS
	'SELECT sum((value->>''result'')::bigint) FROM jsonb_each(bgjob_antecedents())';

-- The steps of a release.
CREATE FUNCTION release_step(step text, version text, seconds numeric DEFAULT 0) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(seconds);
	IF step = 'browser tests' THEN
		RAISE assert_failure USING MESSAGE = 'checkout.spec: expected 200, got 502';
	END IF;
	RETURN step || ' of ' || version;
END $$;

CREATE FUNCTION close_day(day date DEFAULT current_date) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION abandon_carts() RETURNS int LANGUAGE sql AS 'SELECT 17';
CREATE FUNCTION exchange_rates() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION visit(page int) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(random() * 0.02)';
CREATE FUNCTION traffic() RETURNS void LANGUAGE sql AS
	$$SELECT bgjob_enqueue_many('shop.visit', (SELECT array_agg(jsonb_build_object('page', n)) FROM generate_series(1, (20 + 15 * sin(extract(epoch FROM now()) / 20))::int) n),
		queue => 'orders')$$;

RESET ROLE;
SET ROLE reporting;
SET search_path = report, public;
CREATE FUNCTION monthly_report(month date, seconds numeric DEFAULT 0) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..60 LOOP
		PERFORM bgjob_progress(i / 0.6, (ARRAY['reading orders', 'adding up', 'drawing charts', 'writing the PDF'])[1 + i / 20]);
		PERFORM pg_sleep(seconds / 60);
	END LOOP;
	RETURN '{"pages": 42}';
END $$;
CREATE FUNCTION sales_by_country(since interval DEFAULT '1 day') RETURNS int LANGUAGE sql AS 'SELECT 27';
CREATE FUNCTION forecast(weeks int) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_sleep(weeks);
	RETURN 0.0734;
END $$;
RESET ROLE;
