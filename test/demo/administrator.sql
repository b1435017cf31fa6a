-- What an administrator does once in a database: the extension, and one grant for each role that is to use it.
CREATE EXTENSION bgjob;

CREATE ROLE app LOGIN;
GRANT USAGE ON SCHEMA bgjob TO app;

CREATE SCHEMA library AUTHORIZATION app;
ALTER ROLE app SET search_path = library, public;
