-- Three keys for each organization, made by its owner. The hash is that of a word nobody is given.
INSERT INTO api_keys (organization_id, created_by, name, prefix, key_hash, scopes, expires_at, created_at, updated_at)
SELECT users.organization_id,
       users.id,
       (ARRAY['production', 'staging', 'laptop'])[n],
       'pk_' || left(md5(users.email || n), 8),
       sha256(convert_to(users.email || '/' || n, 'UTF8')),
       CASE n WHEN 1 THEN ARRAY['inference', 'usage:read'] ELSE ARRAY['inference'] END,
       CASE n WHEN 3 THEN users.created_at + interval '90 days' END,
       users.created_at,
       users.created_at
FROM users
CROSS JOIN generate_series(1, 3) AS n
WHERE users.role = 'owner' AND users.email ~ '@customer-[0-9]+\.example$'
ORDER BY users.id, n;
