-- What the extension consists of. A change here is a change of the contract, or of what a dump takes along.
-- The parameters of functions that take the options of jobs are in test/pgtap/15_options.sql, with their names and defaults.
CREATE FUNCTION pg_temp.but_options(signature text) RETURNS text LANGUAGE sql
AS $$ SELECT regexp_replace(signature, '(bgjob_(enqueue|enqueue_many|configure|recurring))\(.*\)', '\1(options)') $$;
SELECT pg_temp.but_options(pg_describe_object(d.classid, d.objid, 0)) AS object
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'bgjob'
WHERE d.deptype = 'e' AND d.classid <> 'pg_type'::regclass ORDER BY pg_describe_object(d.classid, d.objid, 0) COLLATE "C";
SELECT pg_temp.but_options(p.oid::regprocedure::text) AS function, regexp_replace(pg_get_function_result(p.oid), '^TABLE.*', 'TABLE') AS pg_get_function_result, p.provolatile, p.proparallel
FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'bgjob'
ORDER BY p.oid::regprocedure::text COLLATE "C";
-- PUBLIC may read the views and nothing else; USAGE on schema bgjob is the one grant that a role needs.
SELECT c.relname, c.relkind, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace IN ('bgjob'::regnamespace, 'bgjob_internal'::regnamespace) AND a.grantee = 0 ORDER BY 1, 3;
SELECT nspname, nspacl FROM pg_namespace WHERE nspname IN ('bgjob', 'bgjob_internal') ORDER BY 1;
SELECT extconfig::regclass[], extcondition FROM pg_extension WHERE extname = 'bgjob';
