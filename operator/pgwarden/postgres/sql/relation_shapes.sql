-- Columns, their types, defaults and checks of given relations, one line each: what must not change while others go.
SELECT format('%%I.%%I', n.nspname, c.relname) || ' ' || what
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT format('column %%I %%s default %%s', a.attname, format_type(a.atttypid, a.atttypmod), a.atthasdef) AS what
    FROM pg_attribute AS a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT format('check %%I', k.conname) FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c'
    UNION ALL
    SELECT format('trigger %%I', t.tgname) FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
) AS parts
WHERE c.oid = ANY (%s::oid[])
UNION ALL
SELECT format('%%I.%%I', n.nspname, c.relname) || ' itself'
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid = ANY (%s::oid[])
