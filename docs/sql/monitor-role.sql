-- The role that pgwarden's monitor looks with: statistics, sizes and settings, no table.
--
--   psql -v ON_ERROR_STOP=1 -v role=pgwarden_monitor -f monitor-role.sql
--
-- Run it as a superuser. Then set a password without it getting into a log or a shell's history:
-- \password pgwarden_monitor
-- It may be run again: what is there stays.

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 10', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec
GRANT pg_monitor TO :"role";

-- Where CONNECT was taken from PUBLIC, the monitor needs it on the maintenance database:
--   GRANT CONNECT ON DATABASE postgres TO pgwarden_monitor;
