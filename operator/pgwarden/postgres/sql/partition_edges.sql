-- Parent and child of every inheritance and partitioning: their ids, their names, and whether it is partitioning.
SELECT
    i.inhparent::bigint,
    i.inhrelid::bigint,
    pn.nspname,
    p.relname,
    cn.nspname,
    c.relname,
    p.relkind = 'p'
FROM pg_inherits AS i
JOIN pg_class AS p ON p.oid = i.inhparent
JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
JOIN pg_class AS c ON c.oid = i.inhrelid
JOIN pg_namespace AS cn ON cn.oid = c.relnamespace
WHERE p.relkind IN ('r', 'p', 'f') AND c.relkind IN ('r', 'p', 'f')
