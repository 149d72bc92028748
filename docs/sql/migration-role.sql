-- The role that pgwarden migrates one database with: what it needs and no more.
--
--   psql -v ON_ERROR_STOP=1 -v role=shop_migration -v database=shop -v schema=public -f migration-role.sql
--
-- Run it as a superuser or as the database's owner (with CREATEROLE), connected to that database. Then set a password
-- without it getting into a log or a shell's history: \password shop_migration
--
-- It may be run again, for another database or schema as well: what is there stays.
--
-- The role owns what its migrations create. Tables that exist already belong to somebody else, and only their owner
-- may alter them: either migrate as that owner (GRANT owner TO role, and spec.role: owner), or hand them over
-- (ALTER TABLE ... OWNER TO).

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec

GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO :"role";

-- For the schema `pgwarden`, which holds the history. Where this is more than you want to give, create it beforehand:
--   CREATE SCHEMA pgwarden; GRANT USAGE, CREATE ON SCHEMA pgwarden TO :"role";
-- as a superuser, and leave the next line out.
GRANT CREATE ON DATABASE :"database" TO :"role";

-- For what the migrations themselves create.
GRANT USAGE, CREATE ON SCHEMA :"schema" TO :"role";

-- client_connection_check_interval, lock_timeout and the other settings pgwarden sets may be set by anybody.
