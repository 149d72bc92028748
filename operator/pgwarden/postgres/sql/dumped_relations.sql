-- Tables whose contents pg_dump writes, and about how large they are without indexes. Those of extensions belong to the
-- extension. Sizes are what VACUUM and ANALYZE last saw: pg_table_size would wait for every table that is locked.
SELECT count(*), coalesce(sum(greatest(c.relpages, 0) + greatest(toast.relpages, 0)), 0)::bigint
    * current_setting('block_size')::bigint
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS toast ON toast.oid = c.reltoastrelid
WHERE c.relkind = 'r'
    AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema'
    AND NOT EXISTS (
        SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    )
