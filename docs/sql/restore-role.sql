-- The role that pgwarden puts restored databases into a live server with (RestoreRequest, target.into): it makes databases
-- of its own, and hands over what is in them to the roles that owned it.
--
--   psql -v ON_ERROR_STOP=1 -v role=pgwarden_restore -v owner=shop_owner -f restore-role.sql
--
-- Run it as a superuser, or on a managed service as its administrator, once for each role that owns databases, schemas or
-- tables which are to be restored. Then set a password without it getting into a log or a shell's history:
-- \password pgwarden_restore
-- and let the role in, in pg_hba.conf (the address is that of the pods):
--   hostssl  all  pgwarden_restore  10.0.0.0/8  scram-sha-256
--
-- It may be run again: what is there stays. Being a member of the owners the role can do what they can: keep its password
-- as you would theirs. `REVOKE owner FROM role` takes that back after the restore.
--
-- What this does not cover, and how a restore says so:
--   * Extensions that are not trusted, and what belongs to a superuser: a superuser's Secret in credentials.restore, for
--     that restore alone (reasons ExtensionsForbidden, RolesMissing), or target.into.withoutOwners for the latter.

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER CREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
\gexec

-- Objects can only be handed over to roles one is a member of.
GRANT :"owner" TO :"role";
