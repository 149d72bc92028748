ALTER TABLE organizations
    ADD COLUMN limits jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT organizations_limits_check CHECK (jsonb_typeof(limits) = 'object');

UPDATE organizations
SET limits = CASE plan
    WHEN 'free' THEN '{"requests_per_minute": 20, "monthly_budget_usd": 0}'
    WHEN 'team' THEN '{"requests_per_minute": 300, "monthly_budget_usd": 500}'
    ELSE '{"requests_per_minute": 3000, "monthly_budget_usd": 20000}'
END::jsonb;
