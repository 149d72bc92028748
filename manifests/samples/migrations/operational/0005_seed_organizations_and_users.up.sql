-- 40 organizations with 25 users each. Computed from the row's number, so every database gets the same rows.
INSERT INTO organizations (slug, name, plan, created_at, updated_at)
SELECT 'customer-' || n,
       'Customer ' || n,
       (ARRAY['free', 'team', 'enterprise'])[1 + n % 3],
       timestamptz '2026-01-01 00:00:00+00' + n * interval '37 hours',
       timestamptz '2026-01-01 00:00:00+00' + n * interval '37 hours'
FROM generate_series(1, 40) AS n
ORDER BY n;

INSERT INTO users (organization_id, email, full_name, role, created_at, updated_at)
SELECT organizations.id,
       format('user%s@%s.example', n, organizations.slug),
       format('User %s of %s', n, organizations.name),
       CASE WHEN n = 1 THEN 'owner' WHEN n <= 3 THEN 'admin' ELSE 'member' END::user_role,
       organizations.created_at + n * interval '11 minutes',
       organizations.created_at + n * interval '11 minutes'
FROM organizations
CROSS JOIN generate_series(1, 25) AS n
WHERE organizations.slug ~ '^customer-[0-9]+$'
ORDER BY organizations.id, n;
