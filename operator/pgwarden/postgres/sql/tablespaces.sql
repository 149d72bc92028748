-- Names of the tablespaces outside PGDATA.
SELECT oid::bigint, spcname
FROM pg_tablespace
WHERE spcname NOT IN ('pg_default', 'pg_global')
