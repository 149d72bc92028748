-- The role that pgwarden dumps databases with (DatabaseBackup of type Logical): it may read everything, and no more.
-- It needs neither REPLICATION nor a superuser, so it fits managed services.
--
--   psql -v ON_ERROR_STOP=1 -v role=pgwarden_dump -f logical-backup-role.sql
--
-- Run it as a superuser, or on a managed service as its administrator. Then set a password without it getting into a log
-- or a shell's history: \password pgwarden_dump
-- and let the role in, in pg_hba.conf (the address is that of the pods):
--   hostssl  all  pgwarden_dump  10.0.0.0/8  scram-sha-256
--
-- It may be run again, and for the role of backup-role.sql, before or after that one: what is there stays.
--
-- What this does not cover, and how a dump says so:
--   * Large objects belong to their owners: GRANT SELECT ON LARGE OBJECT ... (reason DumpNotPermitted).
--   * Tables with row-level security: ALTER ROLE ... BYPASSRLS, which takes a superuser, or on some services their
--     administrator (reason RowSecurity; rows are never left out silently).
--   * Where CONNECT was taken from PUBLIC: GRANT CONNECT ON DATABASE ... (reason ConnectNotPermitted).
--   * Definitions of subscriptions: only a superuser may read them; they are left out.

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec

-- SELECT on all tables, views and sequences and USAGE on all schemas, of today and of tomorrow. That includes the hashes
-- of all passwords (pg_authid): keep this role's password as you would a superuser's.
GRANT pg_read_all_data TO :"role";

-- Sizes of databases, and who holds up a dump.
GRANT pg_read_all_stats TO :"role";
