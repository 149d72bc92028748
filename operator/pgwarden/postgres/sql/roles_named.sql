-- Roles that something in the database we are connected to belongs to, or that are named in its privileges and policies.
-- What belongs to the bootstrap superuser stands in no pg_shdepend.
SELECT role, bool_or(owns)
FROM (
    SELECT r.rolname AS role, d.deptype = 'o' AS owns
    FROM pg_shdepend AS d
    JOIN pg_roles AS r ON r.oid = d.refobjid
    WHERE d.refclassid = 'pg_authid'::regclass
        AND d.classid NOT IN ('pg_subscription'::regclass, 'pg_user_mapping'::regclass)
        AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL
    SELECT pg_get_userbyid(owned.owner), true
    FROM (
        SELECT 'pg_class'::regclass AS class, oid, relowner AS owner FROM pg_class
        UNION ALL
        SELECT 'pg_proc'::regclass, oid, proowner FROM pg_proc
        UNION ALL
        SELECT 'pg_namespace'::regclass, oid, nspowner FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
        UNION ALL
        SELECT 'pg_type'::regclass, oid, typowner FROM pg_type
    ) AS owned
    WHERE owned.owner = 10
        AND owned.oid >= 16384
        AND NOT EXISTS (
            SELECT FROM pg_depend AS d
            WHERE d.classid = owned.class AND d.objid = owned.oid AND d.deptype = 'e'
        )
) AS named
WHERE role !~ '^pg_'
GROUP BY role
ORDER BY role
