-- Foreign keys: table and referenced table by id, and what to call the key.
SELECT k.conrelid::bigint, k.confrelid::bigint, format('%I of table %s', k.conname, k.conrelid::regclass)
FROM pg_constraint AS k
WHERE k.contype = 'f' AND k.conparentid = 0
ORDER BY 3
