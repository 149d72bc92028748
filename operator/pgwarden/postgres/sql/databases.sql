-- Every database, with what it takes to make it anew. Columns that differ between major versions are looked up by name.
SELECT
    oid::bigint,
    datname,
    pg_get_userbyid(datdba),
    pg_encoding_to_char(encoding),
    CASE datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
    datcollate,
    datctype,
    coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
    datcollversion,
    CASE
        WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
        THEN pg_database_size(oid)
    END,
    datistemplate,
    datallowconn,
    has_database_privilege(oid, 'CONNECT'),
    -- DROP DATABASE that was interrupted leaves -2: nobody can connect any more.
    datconnlimit = -2
FROM pg_database AS d
ORDER BY datname
