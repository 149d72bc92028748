-- Run once by server.sh on a new primary: the roles that pgwarden connects as, each with what its work needs, and the
-- database. psql reads names and passwords from files.
\cd :secrets
\set monitor `cat monitor/username`
\set monitor_password `cat monitor/password`
\set backup `cat backup/username`
\set backup_password `cat backup/password`
\set migration `cat migration/username`
\set migration_password `cat migration/password`

-- Statistics, settings and sizes; no table.
CREATE ROLE :"monitor" LOGIN CONNECTION LIMIT 10 PASSWORD :'monitor_password';
GRANT pg_monitor TO :"monitor";

-- Base backups and WAL; also the connection of the standby.
CREATE ROLE :"backup" LOGIN REPLICATION CONNECTION LIMIT 10 PASSWORD :'backup_password';
GRANT pg_read_all_settings, pg_read_all_stats TO :"backup";
-- So that a backup's record tells who was let in, and how.
GRANT SELECT ON pg_hba_file_rules, pg_ident_file_mappings TO :"backup";
GRANT EXECUTE ON FUNCTION pg_hba_file_rules(), pg_ident_file_mappings() TO :"backup";

-- Owner of the database, so that migrations may change everything in it and nothing outside.
CREATE ROLE :"migration" LOGIN CONNECTION LIMIT 20 PASSWORD :'migration_password';
CREATE DATABASE :"database" OWNER :"migration";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"monitor", :"backup";
