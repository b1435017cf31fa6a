-- Recurring jobs: the schedule, the last occurrence, and the job that each occurrence enqueues. The order of the columns is that of the
-- enum in src/store/recurring.h.
CREATE TABLE bgjob_internal.recurring (
    id bigint NOT NULL,
    owner regrole NOT NULL,
    name text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    schedule text NOT NULL,
    time_zone text NOT NULL,
    all_days boolean NOT NULL,          -- day of month and day of week must both match
    misfire "char" NOT NULL,            -- o(nce), a(ll), s(kip)
    overlap "char" NOT NULL,            -- a(llow), s(kip), q(ueue), c(ancel)
    jitter interval,
    starts_at timestamptz,
    ends_at timestamptz,
    active boolean NOT NULL,
    next_at timestamptz,                -- the first occurrence that was not handled yet; null: none
    last_at timestamptz,                -- the last occurrence for which a job was enqueued
    last_run_at timestamptz,            -- when that job was enqueued
    last_job bigint,
    queued timestamptz[],               -- occurrences whose job waits for the end of the previous one
    error text,                         -- why the last occurrence enqueued no job
    lost boolean NOT NULL,              -- the schedule could not be evaluated: next_at is the time of the next try
    run_as regrole NOT NULL,
    settings_id bigint,
    policy_id bigint,
    kind "char" NOT NULL,
    priority smallint NOT NULL,
    max_retries integer NOT NULL,
    timeout interval,
    retention interval,
    queue text COLLATE "C" NOT NULL,
    job text NOT NULL,
    func text,                          -- the function to call: schema.name(types)
    args jsonb,
    custom_settings jsonb,
    unique_key text,
    on_duplicate "char" NOT NULL,
    tags text[],
    parameters jsonb,
    given text[],                       -- the options that callers gave: these stay when it is updated
    retry_delays interval[],            -- as in bgjob_internal.job
    sequence_places text,               -- these options as they were given, with placeholders for arguments
    limit_places text[],
    fairness_places text,
    @column@ @type@,
    CONSTRAINT recurring_pkey PRIMARY KEY (id),
    CONSTRAINT recurring_name UNIQUE (owner, name)
) WITH (fillfactor = 70);
CREATE INDEX recurring_next_idx ON bgjob_internal.recurring (next_at, id);
CREATE INDEX recurring_queued_idx ON bgjob_internal.recurring (id) WHERE queued IS NOT NULL;

SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.recurring', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = run_as) AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = owner)');
