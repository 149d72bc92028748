-- Databases that can be connected to, with their size; pg_monitor may see the size of all of them.
SELECT datname AS name, pg_catalog.pg_database_size(oid) AS size_bytes
FROM pg_catalog.pg_database
WHERE datallowconn
ORDER BY size_bytes DESC, name
