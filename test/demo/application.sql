-- The application: documents, and what background jobs make of them. Everything runs as the role app.
SET client_min_messages = warning;

CREATE TABLE document (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	path text NOT NULL UNIQUE,
	body text NOT NULL
);

CREATE TABLE document_index (
	document_id bigint PRIMARY KEY REFERENCES document,
	words int NOT NULL,
	distinct_words int NOT NULL,
	most_frequent jsonb NOT NULL,
	search tsvector NOT NULL,
	indexed_by text NOT NULL DEFAULT session_user
);
CREATE INDEX ON document_index USING gin (search);

-- The job: reads one document, writes its row of document_index. Its result is kept with the job.
CREATE FUNCTION index_document(id bigint) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	text_of text;
	statistics record;
BEGIN
	SELECT body INTO text_of FROM document WHERE document.id = index_document.id;
	IF NOT FOUND THEN
		RAISE no_data_found USING MESSAGE = format('document %s does not exist', id);
	END IF;

	WITH word AS (
		SELECT word, count(*)::int AS n
		FROM regexp_split_to_table(lower(text_of), '[^[:alpha:]]+') AS word
		WHERE length(word) > 3
		GROUP BY word
	)
	SELECT coalesce(sum(n), 0) AS words, count(*) AS distinct_words,
		coalesce((SELECT jsonb_object_agg(word, n) FROM (SELECT * FROM word ORDER BY n DESC, word LIMIT 5) AS top),
			'{}') AS most_frequent
	INTO statistics
	FROM word;

	INSERT INTO document_index (document_id, words, distinct_words, most_frequent, search)
	VALUES (id, statistics.words, statistics.distinct_words, statistics.most_frequent,
		to_tsvector('english', left(text_of, 300000)))
	ON CONFLICT (document_id) DO UPDATE
	SET words = excluded.words, distinct_words = excluded.distinct_words,
		most_frequent = excluded.most_frequent, search = excluded.search, indexed_by = excluded.indexed_by;

	RETURN jsonb_build_object('words', statistics.words, 'distinct', statistics.distinct_words);
END $$;

CREATE TRIGGER index_document AFTER INSERT ON document
	FOR EACH ROW EXECUTE FUNCTION bgjob_enqueue_trigger('index_document', 'columns=id', 'queue=index');

-- A service that is down at first.
CREATE TABLE mail_server (is_up boolean NOT NULL);
INSERT INTO mail_server VALUES (false);
CREATE TABLE outbox (recipient text, subject text, sent_at timestamptz DEFAULT clock_timestamp());

CREATE FUNCTION send_mail(recipient text, subject text DEFAULT 'The library is indexed') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF NOT (SELECT is_up FROM mail_server) THEN
		RAISE connection_failure USING MESSAGE = 'the mail server does not answer';
	END IF;
	INSERT INTO outbox (recipient, subject) VALUES (recipient, subject);
	RETURN 'sent to ' || recipient;
END $$;

CREATE TABLE summary (at timestamptz DEFAULT clock_timestamp(), documents bigint, words bigint);

CREATE FUNCTION summarize() RETURNS bigint LANGUAGE sql AS $$
	INSERT INTO summary (documents, words) SELECT count(*), sum(words) FROM document_index RETURNING words;
$$;
