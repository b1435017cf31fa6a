-- Enqueues further jobs: three that fail at first, one that fails for good, three that are delayed.
SELECT bgjob_enqueue_many('send_mail', ARRAY['{"recipient": "ann"}', '{"recipient": "bob"}', '{"recipient": "eve"}']::jsonb[],
	queue => 'mail') \g /dev/null
SELECT bgjob_enqueue('index_document', '{"id": 0}', queue => 'index', max_retries => 0) \g /dev/null
SELECT bgjob_enqueue('summarize', delay => '4 seconds') \g /dev/null
SELECT bgjob_enqueue('summarize', delay => '5 seconds') \g /dev/null
SELECT bgjob_enqueue('VACUUM (ANALYZE) document_index', kind => 'sql', delay => '3 seconds') \g /dev/null
