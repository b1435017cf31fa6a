-- What the owner's default privileges (ALTER DEFAULT PRIVILEGES) have given away or taken of what the script has made is undone: the
-- tables are private, EXECUTE is the right to administer, and a role with USAGE on the schema can use bgjob. Only what is below counts.
DO $$
DECLARE
    object text;
    grantee oid;
BEGIN
    FOR object, grantee IN
        SELECT format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass), a.grantee
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.relnamespace IN ('bgjob'::regnamespace, 'bgjob_internal'::regnamespace) AND a.grantee <> c.relowner
        UNION SELECT format('ROUTINE %s', p.oid::regprocedure), a.grantee
        FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid, aclexplode(p.proacl) a
        WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
          AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'bgjob')
          AND a.grantee NOT IN (0, p.proowner)
        UNION SELECT format('SCHEMA %s', n.oid::regnamespace), a.grantee
        FROM pg_namespace n, aclexplode(n.nspacl) a
        WHERE n.oid IN ('bgjob'::regnamespace, 'bgjob_internal'::regnamespace) AND a.grantee <> n.nspowner
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', object,
                       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END);
    END LOOP;
    FOR object IN
        SELECT format('GRANT EXECUTE ON ROUTINE %s TO PUBLIC', p.oid::regprocedure)
        FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
        WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
          AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'bgjob')
          -- functions for the extension's own triggers and script, which no role calls
          AND (p.pronamespace <> 'bgjob_internal'::regnamespace OR p.prorettype <> 'trigger'::regtype AND p.proname <> 'installed')
        UNION ALL
        SELECT format('GRANT SELECT ON %s TO PUBLIC', oid::regclass)
        FROM pg_class WHERE relnamespace = 'bgjob'::regnamespace AND relkind = 'v'
    LOOP
        EXECUTE object;
    END LOOP;
END $$;

-- The right to administer is EXECUTE, as with the server's own functions. The extension's owner has it as their owner. The
-- database's owner administers its queues, servers and limits. Filters and adopting are granted to no role: the manual says why.
REVOKE EXECUTE ON FUNCTION @extschema@.bgjob_queue, @extschema@.bgjob_queue_pause, @extschema@.bgjob_queue_resume,
    @extschema@.bgjob_queue_remove, @extschema@.bgjob_limit, @extschema@.bgjob_limit_remove, @extschema@.bgjob_weight,
    @extschema@.bgjob_server, @extschema@.bgjob_server_pause, @extschema@.bgjob_server_resume, @extschema@.bgjob_server_remove,
    @extschema@.bgjob_function_stats_reset, @extschema@.bgjob_filter, @extschema@.bgjob_filter_remove,
    @extschema@.bgjob_adopt FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.bgjob_queue, @extschema@.bgjob_queue_pause, @extschema@.bgjob_queue_resume,
    @extschema@.bgjob_queue_remove, @extschema@.bgjob_limit, @extschema@.bgjob_limit_remove, @extschema@.bgjob_weight,
    @extschema@.bgjob_server, @extschema@.bgjob_server_pause, @extschema@.bgjob_server_resume, @extschema@.bgjob_server_remove,
    @extschema@.bgjob_limit_close, @extschema@.bgjob_function_stats_reset, @extschema@.bgjob_configure, @extschema@.bgjob_unconfigure
    TO pg_database_owner;

-- To use bgjob, a role needs USAGE on schema bgjob. What pg_monitor has is for the views alone (bgjob_check_usage). Nobody has
-- any right to schema bgjob_internal.
GRANT USAGE ON SCHEMA bgjob TO pg_database_owner, pg_monitor;
