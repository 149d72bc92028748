ALTER TABLE organizations
    ADD COLUMN limits jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT organizations_limits_check CHECK (jsonb_typeof(limits) = 'object');

-- updated_at tells when somebody changed an organization; a migration is nobody.
ALTER TABLE organizations DISABLE TRIGGER organizations_touch;

UPDATE organizations
SET limits = CASE plan
    WHEN 'free' THEN '{"requests_per_minute": 20, "monthly_budget_usd": 0}'
    WHEN 'team' THEN '{"requests_per_minute": 300, "monthly_budget_usd": 500}'
    ELSE '{"requests_per_minute": 3000, "monthly_budget_usd": 20000}'
END::jsonb;

ALTER TABLE organizations ENABLE TRIGGER organizations_touch;
