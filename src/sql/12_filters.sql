-- Filters: functions that are called at events of jobs.
CREATE TABLE bgjob_internal.filter (
    name text COLLATE "C" NOT NULL,
    event text NOT NULL,
    func text NOT NULL,                 -- schema.name(types)
    jobs text NOT NULL,                 -- a LIKE pattern: the jobs for which it is called
    ordering integer NOT NULL,
    created_at timestamptz NOT NULL,
    owner regrole NOT NULL,             -- of the function, when the filter was added
    everywhere boolean NOT NULL,        -- added by an administrator: it is called for the jobs of all roles
    CONSTRAINT filter_pkey PRIMARY KEY (name)
);

SELECT pg_catalog.pg_extension_config_dump('bgjob_internal.filter', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = owner)');
