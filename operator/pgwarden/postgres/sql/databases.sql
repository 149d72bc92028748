-- Every database, with its locales. Columns that differ between major versions are looked up by name.
SELECT
    datname,
    oid::bigint,
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
    datallowconn AND has_database_privilege(oid, 'CONNECT')
FROM pg_database AS d
ORDER BY datname
