-- The role that pgwarden's monitor looks with: statistics, sizes and settings, no table.
--
--   psql -v ON_ERROR_STOP=1 -v role=pgwarden_monitor -f monitor-role.sql
--
-- Run it as a superuser. Then set a password without it getting into a log or a shell's history:
-- \password pgwarden_monitor

CREATE ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 10;
GRANT pg_monitor TO :"role";

-- Where CONNECT was taken from PUBLIC, the monitor needs it on the maintenance database:
--   GRANT CONNECT ON DATABASE postgres TO pgwarden_monitor;
