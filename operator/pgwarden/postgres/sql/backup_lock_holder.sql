-- Who holds an advisory lock; the other's name shows only to members of pg_read_all_stats.
SELECT
    lock.pid,
    activity.usename,
    activity.application_name
FROM pg_locks AS lock
LEFT JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE
    lock.locktype = 'advisory' AND lock.classid = %s AND lock.objid = %s AND lock.granted
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
