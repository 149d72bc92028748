-- 50,000 events from June to November 2026. Computed from the row's number, so every database gets the same rows.
INSERT INTO usage_events (
    occurred_at, organization_id, api_key_id, model, status, input_tokens, output_tokens, cost_micros, latency_ms, attributes
)
SELECT timestamptz '2026-06-01 00:00:00+00' + n * interval '5 minutes 12 seconds',
       1 + n % 40,
       1 + n % 120,
       (ARRAY['small-1', 'medium-1', 'large-1', 'embedding-1'])[1 + n % 4],
       CASE WHEN n % 97 = 0 THEN 500 WHEN n % 41 = 0 THEN 429 ELSE 200 END,
       50 + n * 7919 % 4000,
       CASE WHEN n % 4 = 3 THEN 0 ELSE 10 + n * 104729 % 1500 END,
       (50 + n * 7919 % 4000) * (1 + n % 4) + n % 13,
       20 + n * 31 % 900,
       jsonb_build_object('region', (ARRAY['eu-1', 'us-1', 'ap-1'])[1 + n % 3], 'stream', n % 2 = 0, 'seed', true)
FROM generate_series(1::bigint, 50000) AS n
ORDER BY n;
