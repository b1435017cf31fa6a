-- Servers: pools of workers.

CREATE FUNCTION @extschema@.bgjob_server(name text, queues text[] DEFAULT '{*}', workers integer DEFAULT NULL)
    RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_server IS 'adds a server, or changes one: the queues that its workers take, in order, and how many workers it may have';

CREATE FUNCTION @extschema@.bgjob_server_pause(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_server_pause IS 'pauses a server, or external workers: running jobs end, no new ones start; false if it was paused already, or does not exist';

CREATE FUNCTION @extschema@.bgjob_server_resume(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_server_resume IS 'resumes a server, or external workers: they start jobs again; false if it was not paused, or does not exist';

CREATE FUNCTION @extschema@.bgjob_server_remove(name text)
    RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.bgjob_server_remove IS 'removes a server, whose workers leave after their jobs; "default" follows the settings again; asks external workers to leave; false if there was none';

CREATE FUNCTION bgjob_internal.servers(
    OUT name text, OUT kind text, OUT queues text[], OUT workers integer, OUT busy integer, OUT started_at timestamptz, OUT heartbeat_at timestamptz, OUT paused boolean)
    RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 3 AS 'MODULE_PATHNAME', 'bgjob_server_rows';
COMMENT ON FUNCTION bgjob_internal.servers IS 'returns the servers of this database, if it is served, and the external workers that the current user may see';

CREATE FUNCTION bgjob_internal.server_count()
    RETURNS integer LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'bgjob_server_count';
COMMENT ON FUNCTION bgjob_internal.server_count IS 'returns the number of servers in this database';
