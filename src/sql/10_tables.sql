-- bgjob's tables, in a schema of their own on which no role has USAGE: the views in schema bgjob are the contract, and the tables may
-- change between versions.
-- Only src/store (in C) and the views (in SQL) name them.

-- complain if the script is sourced in psql, rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION bgjob" to load this file. \quit

-- Pins search_path: no name below is looked up in a schema in which others may create objects.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

CREATE SCHEMA bgjob;                    -- the views
CREATE SCHEMA bgjob_internal;           -- everything else, except the public functions
REVOKE ALL ON SCHEMA bgjob_internal FROM PUBLIC;

CREATE SEQUENCE bgjob_internal.job_id_seq;
CREATE SEQUENCE bgjob_internal.settings_id_seq;

-- The two tables in which every job has a row. A row inserted in bulk ends with its last column that differs from the default
-- (src/store/relation.c). For the columns left out the server reads null, or the default with which the column was added.
-- So the few columns that nearly all new jobs need come first; ALTER TABLE adds all others.

-- Jobs: what to run, and the state. The row carries the history of the current attempt in its times; earlier entries are in state.
-- The order of the columns is that of the enum in src/store/job.h; those of options are from src/store/optionlist.h (expand.awk).
CREATE TABLE bgjob_internal.job (
    id bigint NOT NULL,
    created_at timestamptz NOT NULL,
    call_id bigint,                     -- of bgjob_internal.settings: what to call; null: job says it
    settings_id bigint,                 -- likewise: the captured settings
    policy_id bigint,                   -- likewise: the policy configured for the function; null: none
    run_as regrole NOT NULL,
    args jsonb,
    CONSTRAINT job_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50, -- keeps room for the updates of a job on its own page (HOT)
    -- Each job leaves a dead row or two. Autovacuum counts the rows inserted since its last run: by the dead rows it would read the
    -- whole table in every round while a snapshot is held, and remove none.
    autovacuum_vacuum_scale_factor = 2.0, autovacuum_vacuum_insert_scale_factor = 0.1);
ALTER TABLE bgjob_internal.job
    ADD queue text COLLATE "C" NOT NULL DEFAULT 'default',
    ADD state "char" NOT NULL DEFAULT 'e', -- enqueued
    ADD kind "char" NOT NULL DEFAULT 'f',  -- a function
    ADD priority smallint NOT NULL DEFAULT 0,
    ADD max_retries integer NOT NULL DEFAULT 10,
    ADD retries integer,                -- null: 0, which takes no room; likewise the counts below
    ADD interruptions integer,
    ADD crashes integer,
    ADD states integer,                 -- entries in bgjob_internal.state
    ADD logs integer,                   -- lines in bgjob_internal.log
    ADD worker_pid integer,
    ADD started_at timestamptz,
    ADD finished_at timestamptz,
    ADD pos bigint,                     -- its position in the queue, from the same sequence as id; null: equal to id
    ADD entered_at timestamptz,         -- when the job began to wait (enqueued, scheduled, awaiting); null: at created_at, or, if states is not null, as in state
    ADD run_at timestamptz,
    ADD batch_id bigint,
    ADD timeout interval,
    ADD retention interval,
    ADD job text,                       -- a command
    ADD entry_reason text,              -- why the job waits
    ADD reason text,                    -- why the job is in its present state
    ADD error jsonb,
    ADD result jsonb,
    ADD custom_settings jsonb,
    ADD unique_key text,
    ADD recurring_name text,
    ADD after bigint[],
    ADD tags text[],
    ADD parameters jsonb,
    ADD progress numeric,               -- as reported by the last attempt
    ADD progress_message text,
    ADD enqueued_by regrole,            -- the role that enqueued it, if it runs as another role; else null
    ADD after_batch bigint,
    ADD after_signal text[],
    ADD condition "char",               -- s(ucceeded), e(nded: finished), f(ailed), d(eleted), a(ny); null: s
    ADD await_timeout interval,
    ADD await_delay interval,           -- from the release until it may run
    ADD retry_delays interval[],        -- its own; null: those of the policy; empty: the default back-off
    ADD follows bigint,                 -- the job that had its unique_key, and ran: awaited, and canceled; negative: it goes on
    ADD server text,                    -- whose worker made the current or last attempt; null: "default"
    ADD @column@ @type@,
    ADD pending jsonb,                  -- an event that a worker settles before it runs the job; null: none
    ADD gate bigint;                    -- an enqueued job that has waited, or waits, at a gate: the last one; null: it has not

-- Jobs that can run now. Rows are inserted and deleted, never updated; a worker's claim is the lock on its deleted row.
CREATE TABLE bgjob_internal.queue (
    lane bigint NOT NULL,               -- a hash of queue and priority: comparing both in the index would cost twice as much
    pos bigint NOT NULL,
    role regrole NOT NULL,
    job_tid tid NOT NULL,               -- where the row of the job was when it was enqueued: a hint
    CONSTRAINT queue_pkey PRIMARY KEY (role, lane, pos)
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE bgjob_internal.queue
    ADD job bigint,                     -- null: equal to pos
    ADD queue text COLLATE "C" NOT NULL DEFAULT 'default',
    ADD priority smallint NOT NULL DEFAULT 0;

-- Jobs that can run from a known time on.
CREATE TABLE bgjob_internal.schedule (
    at timestamptz NOT NULL,
    job bigint NOT NULL,
    role regrole NOT NULL,              -- the role that the job runs as: each has its own line
    queue text COLLATE "C" NOT NULL,
    CONSTRAINT schedule_pkey PRIMARY KEY (role, at, job)
);

-- Jobs that are ready, but wait at a gate: a limit, a sequence_key, a queue with max_running. A gate is a hash of its name.
CREATE TABLE bgjob_internal.gate (
    gate bigint NOT NULL,
    place bigint NOT NULL,              -- in the line of the gate: priority and position; of a sequence_key: the job
    job bigint NOT NULL,
    job_tid tid NOT NULL,               -- where the row of the job was when it began to wait here: a hint
    CONSTRAINT gate_pkey PRIMARY KEY (gate, place)
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_cost_delay = 0);

-- Jobs with a sequence_key, from when they are first ready to run until they have succeeded or are deleted.
CREATE TABLE bgjob_internal.sequence (
    role regrole NOT NULL,              -- the role that the job runs as
    hash bigint NOT NULL,               -- the gate of the key
    job bigint NOT NULL,
    CONSTRAINT sequence_pkey PRIMARY KEY (role, hash, job)
);

-- What has been spent of the rates of limits, as the scheduler has seen it last: for the next start of the server.
CREATE TABLE bgjob_internal.limit_use (
    gate bigint NOT NULL,
    use bigint[] NOT NULL,              -- as in memory
    CONSTRAINT limit_use_pkey PRIMARY KEY (gate)
);

-- Jobs that await others, a batch or signals.
CREATE TABLE bgjob_internal.awaiting (
    job bigint NOT NULL,
    role regrole NOT NULL,              -- the role that the job runs as
    queue text COLLATE "C" NOT NULL,
    prerequisites integer NOT NULL,     -- how many jobs, batches and signals it awaits in all
    condition "char" NOT NULL,
    deadline timestamptz,               -- not released by then, it is deleted; null: none
    behind_batch boolean NOT NULL,      -- it awaits a batch, directly or over other jobs
    job_tid tid NOT NULL,               -- where the row of the job was when it began to await: a hint
    CONSTRAINT awaiting_pkey PRIMARY KEY (job)
);
CREATE INDEX awaiting_deadline_idx ON bgjob_internal.awaiting (deadline, job) WHERE deadline IS NOT NULL;

-- Who awaits whom, as long as the result of the target may be needed. A target is a job, a batch or, negative, a hash of a signal's name.
CREATE TABLE bgjob_internal.edge (
    target bigint NOT NULL,
    dependant bigint NOT NULL,          -- a job
    CONSTRAINT edge_pkey PRIMARY KEY (target, dependant)
);

-- Signals that were sent. Rows are only inserted; of a name, the last one counts.
CREATE TABLE bgjob_internal.signal (
    id bigint NOT NULL,                 -- from the same sequence as the ids of jobs
    hash bigint NOT NULL,               -- of the name, as in edge
    name text COLLATE "C" NOT NULL,
    role regrole NOT NULL,              -- that sent it: only jobs that it controls take notice
    at timestamptz NOT NULL,
    payload jsonb,
    CONSTRAINT signal_pkey PRIMARY KEY (id)
);
CREATE INDEX signal_hash_idx ON bgjob_internal.signal (hash, role, id);

-- Batches of jobs. Whether one has finished is known from its members.
CREATE TABLE bgjob_internal.batch (
    id bigint NOT NULL,                 -- from the same sequence as the ids of jobs
    role regrole NOT NULL,
    parent bigint,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,            -- last; before it was opened again, if batch_total has a later time
    description text,
    parameters jsonb,
    unique_key text COLLATE "C",
    CONSTRAINT batch_pkey PRIMARY KEY (id)
);
CREATE INDEX batch_key_idx ON bgjob_internal.batch (role, unique_key) WHERE unique_key IS NOT NULL;

-- The jobs of batches that have not succeeded, in their batch and in each one above it.
CREATE TABLE bgjob_internal.member (
    batch bigint NOT NULL,
    state "char" NOT NULL,              -- o: not finished, f(ailed), d(eleted)
    job bigint NOT NULL,
    CONSTRAINT member_pkey PRIMARY KEY (batch, state, job)
);

-- Numbers of jobs of batches. Rows are only inserted, and added up when there are many.
CREATE TABLE bgjob_internal.batch_total (
    batch bigint NOT NULL,
    at timestamptz NOT NULL,            -- jobs were added, or run again
    jobs bigint NOT NULL,               -- that were added
    failed bigint NOT NULL,             -- of these, failed and deleted ones that have been removed
    deleted bigint NOT NULL
);
CREATE INDEX batch_total_idx ON bgjob_internal.batch_total (batch);

-- Failed jobs, which wait for a user to act.
CREATE TABLE bgjob_internal.failure (
    job bigint NOT NULL,
    role regrole NOT NULL,              -- the role that the job runs as
    queue text COLLATE "C" NOT NULL,
    CONSTRAINT failure_pkey PRIMARY KEY (job)
);

-- Jobs whose claim was committed before they ran, and the process that runs them.
CREATE TABLE bgjob_internal.claim (
    job bigint NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL,    -- start of the process: a pid alone may be reused
    CONSTRAINT claim_pkey PRIMARY KEY (job)
);

-- Jobs that external workers have fetched. Rows are inserted and deleted, never updated; who deletes a row ends the attempt.
CREATE TABLE bgjob_internal.lease (
    job bigint NOT NULL,
    owner regrole NOT NULL,             -- the role that fetched it
    lease bigint NOT NULL,              -- how long it lasts after a start of the server, in microseconds
    time_limit bigint NOT NULL,         -- of the attempt, in milliseconds; 0: none
    bound boolean NOT NULL,             -- it ends with the session that fetched it
    started_at timestamptz NOT NULL,
    worker text COLLATE "C" NOT NULL,
    CONSTRAINT lease_pkey PRIMARY KEY (job)
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_cost_delay = 0);

-- The jobs with a unique_key that have not finished.
CREATE TABLE bgjob_internal.unique_key (
    owner regrole NOT NULL,             -- the role that the job runs as
    key text COLLATE "C" NOT NULL,
    job bigint NOT NULL,
    CONSTRAINT unique_key_pkey PRIMARY KEY (owner, key)
);

-- History: the transitions that the row of the job does not carry. Append-only.
CREATE TABLE bgjob_internal.state (
    job bigint NOT NULL,
    seq integer NOT NULL,
    state "char" NOT NULL,
    at timestamptz NOT NULL,
    reason text,
    data jsonb,
    CONSTRAINT state_pkey PRIMARY KEY (job, seq)
);

-- Lines logged by jobs (bgjob_log). Append-only.
CREATE TABLE bgjob_internal.log (
    job bigint NOT NULL,
    seq integer NOT NULL,
    at timestamptz NOT NULL,
    level text NOT NULL,
    message text NOT NULL,
    CONSTRAINT log_pkey PRIMARY KEY (job, seq)
);

-- Values that many jobs share: calls, captured settings, policies of functions. Each is stored once (or more than once, if
-- sessions store it at the same time), and removed when no row refers to it any more.
CREATE TABLE bgjob_internal.settings (
    id bigint NOT NULL,
    hash bigint NOT NULL,
    settings jsonb NOT NULL,
    CONSTRAINT settings_pkey PRIMARY KEY (id)
);
CREATE INDEX settings_hash_idx ON bgjob_internal.settings (hash);

-- Counts of finished jobs that were removed, for the totals. Rows are only inserted; the scheduler adds them up when there are many.
CREATE TABLE bgjob_internal.total (
    state "char" NOT NULL,
    jobs bigint NOT NULL
);

-- What has happened in each queue, by hour and by day of UTC. The scheduler adds to the row of the hour once a second, and adds
-- hours that are over to their days. The histograms are those of src/rules/histogram.c; times are in microseconds.
CREATE TABLE bgjob_internal.stats_hour (
    at timestamptz NOT NULL,            -- when the hour began
    role regrole NOT NULL,              -- the role that the jobs run as
    queue text COLLATE "C" NOT NULL,    -- "*": those of the role's queues that are not counted by themselves
    enqueued bigint NOT NULL,
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    deleted bigint NOT NULL,
    retried bigint NOT NULL,
    interrupted bigint NOT NULL,
    lost bigint NOT NULL,
    throttled bigint NOT NULL,
    cpu_time bigint NOT NULL,
    wal_bytes bigint NOT NULL,
    runs bigint NOT NULL,               -- attempts whose running time is known
    run_time bigint NOT NULL,
    waits bigint NOT NULL,
    wait_time bigint NOT NULL,
    run_histogram bytea NOT NULL,
    wait_histogram bytea NOT NULL,
    in_day boolean NOT NULL,            -- it is in the row of its day, too
    CONSTRAINT stats_hour_pkey PRIMARY KEY (at, role, queue)
) WITH (fillfactor = 50);               -- keeps room for updates on the page of the row (HOT)
CREATE INDEX stats_hour_open_idx ON bgjob_internal.stats_hour (at) WHERE NOT in_day;

CREATE TABLE bgjob_internal.stats_day (
    at timestamptz NOT NULL,
    role regrole NOT NULL,
    queue text COLLATE "C" NOT NULL,
    enqueued bigint NOT NULL,
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    deleted bigint NOT NULL,
    retried bigint NOT NULL,
    interrupted bigint NOT NULL,
    lost bigint NOT NULL,
    throttled bigint NOT NULL,
    cpu_time bigint NOT NULL,
    wal_bytes bigint NOT NULL,
    runs bigint NOT NULL,
    run_time bigint NOT NULL,
    waits bigint NOT NULL,
    wait_time bigint NOT NULL,
    run_histogram bytea NOT NULL,
    wait_histogram bytea NOT NULL,
    CONSTRAINT stats_day_pkey PRIMARY KEY (at, role, queue)
) WITH (fillfactor = 80);
ALTER TABLE bgjob_internal.stats_hour ALTER run_histogram SET STORAGE MAIN, ALTER wait_histogram SET STORAGE MAIN;
ALTER TABLE bgjob_internal.stats_day ALTER run_histogram SET STORAGE MAIN, ALTER wait_histogram SET STORAGE MAIN;

-- Queues that administrators have configured. A queue without a row has the defaults.
CREATE TABLE bgjob_internal.queue_conf (
    queue text COLLATE "C" NOT NULL,
    version bigint NOT NULL,            -- grows with every change, of any queue
    paused boolean NOT NULL,
    group_size integer NOT NULL,
    retention interval,
    max_running integer,                -- null: any number
    max_length integer,                 -- null: any number
    CONSTRAINT queue_conf_pkey PRIMARY KEY (queue)
);

-- Limits that administrators have configured. A name that ends with * is a pattern: each key with that prefix is a limit of its own.
CREATE TABLE bgjob_internal.limit_conf (
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,            -- grows with every change, of any limit
    max_running integer,                -- null: any number
    rate integer,                       -- units in each "per"; null: any number
    per interval,
    algorithm "char" NOT NULL,          -- f(ixed_window), s(liding_window), t(oken_bucket)
    on_limit "char" NOT NULL,           -- w(ait), d(elete)
    closed_until timestamptz,           -- no job starts before; null: not closed
    CONSTRAINT limit_conf_pkey PRIMARY KEY (name)
);

-- The weights of fairness keys, and of patterns of them. A key without a row has 1.
CREATE TABLE bgjob_internal.weight_conf (
    key text COLLATE "C" NOT NULL,
    version bigint NOT NULL,            -- grows with every change, of any weight
    weight real NOT NULL,
    CONSTRAINT weight_conf_pkey PRIMARY KEY (key)
);

-- Servers (pools of workers) that administrators have configured. Without a row of its own, "default" follows the settings.
CREATE TABLE bgjob_internal.server_conf (
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,            -- grows with every change, of any server
    paused boolean NOT NULL,
    queues text[],                      -- in the order of taking; null: as bgjob.queues says
    workers integer,                    -- null: as bgjob.workers says
    CONSTRAINT server_conf_pkey PRIMARY KEY (name)
);

-- Functions configured by their owners or by administrators: defaults for the jobs that call them.
CREATE TABLE bgjob_internal.function_conf (
    func text COLLATE "C" NOT NULL,     -- schema.name(types)
    queue text COLLATE "C",
    priority smallint,
    max_retries integer,
    timeout interval,
    unique_key text,                    -- with placeholders for arguments
    on_duplicate "char",                -- s(kip), r(eplace), d: reschedule, e(rror), n(ewest): supersede
    tags text[],
    parameters jsonb,
    policy jsonb,                       -- retry_delays in seconds, retry_on, no_retry_on, on_exhausted, chunk_size, chunk_wait in microseconds
    retention interval,
    @column@ @type@,
    CONSTRAINT function_conf_pkey PRIMARY KEY (func)
);
CREATE INDEX function_conf_retention_idx ON bgjob_internal.function_conf (retention);

-- The database that these tables belong to. In a copy of it (CREATE DATABASE ... TEMPLATE) nothing runs until bgjob_adopt().
CREATE TABLE bgjob_internal.installation (
    database oid NOT NULL
);
INSERT INTO bgjob_internal.installation SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database();

-- A dump contains jobs, history and settings, but not the queue: restored jobs do not run until bgjob_adopt().
-- It omits jobs of dropped roles: the OID may belong to another role where the dump is restored.
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.job_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.settings_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.job', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = run_as) AND (enqueued_by IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = enqueued_by))');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.state', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.log', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.settings', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.total', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.stats_hour', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.stats_day', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.unique_key', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = owner)');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.sequence', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.batch', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.batch_total', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.member', 'WHERE EXISTS (SELECT FROM bgjob_internal.job j JOIN pg_catalog.pg_roles r ON r.oid = j.run_as WHERE j.id = member.job)');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.queue_conf', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.limit_conf', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.weight_conf', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.server_conf', '');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.signal', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = role)');
SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.function_conf', '');
