CREATE VIEW monthly_invoices AS
SELECT date_trunc('month', day)::date AS month,
       organization_id,
       sum(requests) AS requests,
       sum(input_tokens + output_tokens) AS tokens,
       round(sum(cost_micros) / 1000000.0, 2) AS amount_usd
FROM daily_usage
GROUP BY 1, 2;

COMMENT ON VIEW monthly_invoices IS 'What each organization owes for a month, in US dollars.';
