-- The settings: names, defaults and who may change them. The default of bgjob.workers depends on the machine.
SELECT name, CASE WHEN name <> 'bgjob.workers' THEN boot_val END AS boot_val, unit, context, vartype
FROM pg_settings WHERE name LIKE 'bgjob.%' ORDER BY name COLLATE "C";
SELECT boot_val::int BETWEEN 5 AND 20 AS sane FROM pg_settings WHERE name = 'bgjob.workers';
-- Wrong values are refused when they are set.
ALTER SYSTEM SET bgjob.queues = 'a,,b';
ALTER SYSTEM SET bgjob.databases = '';
ALTER SYSTEM SET bgjob.workers = -1;
SET bgjob.workers = 3;
SET bgjob.no_such_setting = 1;
