-- The role that pgwarden takes backups with: what it needs and no more.
--
--   psql -v ON_ERROR_STOP=1 -v role=pgwarden_backup -f backup-role.sql
--
-- Run it as a superuser. Then set a password without it getting into a log or a shell's history:
--   \password pgwarden_backup
-- and let the role in, in pg_hba.conf (the address is that of the pods), for replication and for one database:
--   hostssl  replication  pgwarden_backup  10.0.0.0/8  scram-sha-256
--   hostssl  postgres     pgwarden_backup  10.0.0.0/8  scram-sha-256
--
-- It may be run again, and for the role of logical-backup-role.sql, before or after that one: what is there stays.
--
-- REPLICATION alone is enough for a backup that restores. Whoever has it can read every byte of the cluster: a backup
-- is every byte. The grants below only make the backup's record more complete; leave out what you do not want to give.

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec
ALTER ROLE :"role" LOGIN REPLICATION;

-- Settings that only some may see, such as the data directory. Values that may be secret are never recorded.
GRANT pg_read_all_settings TO :"role";

-- Sizes of databases that the role may not connect to.
GRANT pg_read_all_stats TO :"role";

-- The rules of pg_hba.conf and pg_ident.conf, which a copy needs when it takes the original's place.
GRANT SELECT ON pg_hba_file_rules, pg_ident_file_mappings TO :"role";
GRANT EXECUTE ON FUNCTION pg_hba_file_rules(), pg_ident_file_mappings() TO :"role";
