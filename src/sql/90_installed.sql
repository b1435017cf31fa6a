-- The launcher starts a scheduler in this database when the script has committed.
SELECT bgjob_internal.installed();
