-- What goes on afterwards, so that there is something to look at: some jobs a minute, with progress and a log, until the demonstration is
-- stopped; a batch with a job that follows it; jobs for later.
SET client_min_messages = warning;

CREATE FUNCTION check_links(pages int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	path_of text;
	broken int := 0;
BEGIN
	FOR page IN 1 .. pages LOOP
		SELECT path INTO path_of FROM document WHERE id >= random() * (SELECT max(id) FROM document) ORDER BY id LIMIT 1;
		IF random() < 0.1 THEN
			broken := broken + 1;
			PERFORM bgjob_log(format('%s has a broken link', path_of), 'warning');
		END IF;
		PERFORM bgjob_progress(100 * page / pages, path_of), pg_sleep(0.4);
	END LOOP;
	IF broken > pages / 5 THEN
		RAISE EXCEPTION '% broken links', broken;
	END IF;
	RETURN jsonb_build_object('pages', pages, 'broken', broken);
END $$;

SELECT bgjob_recurring('summary', '20 seconds', 'summarize', queue => 'reports');
SELECT bgjob_recurring('links', '30 seconds', 'check_links', '{"pages": 30}', queue => 'links', max_retries => 1, overlap => 'skip');
SELECT bgjob_recurring('newsletter', '0 7 * * MON-FRI', 'send_mail', '{"recipient": "all"}', queue => 'mail', time_zone => 'Europe/Berlin');

SELECT bgjob_batch('Index the first documents again') AS batch \gset
SELECT bgjob_enqueue_many('index_document', ARRAY(SELECT jsonb_build_object('id', id) FROM document ORDER BY id LIMIT 60), queue => 'index', batch => :batch) \g /dev/null
SELECT bgjob_enqueue('summarize', queue => 'reports', after_batch => :batch) \g /dev/null
SELECT bgjob_enqueue('send_mail', jsonb_build_object('recipient', recipient, 'subject', 'What is new'), queue => 'mail', delay => '1 hour', tags => '{later}')
FROM unnest('{ann,bob,eve}'::text[]) AS recipient \g /dev/null
