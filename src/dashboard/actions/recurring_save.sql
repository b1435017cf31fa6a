-- Adds a recurring job of the role, or changes the one with that name. What is null stays as it is.
-- @from_role@ restores the settings of the role (the function that the job names is looked up, and the search_path is captured for it)
-- params: name text, schedule text?, job text?, args jsonb?, kind text?, queue text?, priority int?, max_retries int?, timeout interval?, time_zone text?, misfire text?, overlap text?, day_match text?, jitter interval?, starts_at timestamptz?, ends_at timestamptz?, unique_key text?, sequence_key text?, limits text[]?, tags text[]?, active boolean?
SELECT pg_catalog.to_jsonb(@bgjob@.bgjob_recurring(name => :name, schedule => :schedule, job => :job, args => :args, kind => :kind, queue => :queue,
    priority => :priority, max_retries => :max_retries, timeout => :timeout, time_zone => :time_zone, misfire => :misfire, overlap => :overlap,
    day_match => :day_match, jitter => :jitter, starts_at => :starts_at, ends_at => :ends_at, unique_key => :unique_key,
    sequence_key => :sequence_key, limits => :limits, tags => :tags, active => :active)::text)
@from_role@
