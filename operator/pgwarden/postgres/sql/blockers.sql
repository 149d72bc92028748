-- Sessions that hold what sessions of one application_name wait for.
SELECT DISTINCT format('%%s (user %%s, %%s)', other.pid, other.usename, other.application_name)
FROM pg_stat_activity AS waiting
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocking (pid)
JOIN pg_stat_activity AS other ON other.pid = blocking.pid
WHERE waiting.application_name = %s
LIMIT 3
