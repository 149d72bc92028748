-- Until somebody says otherwise, invoices go to the owner.
COMMENT ON TABLE organizations IS 'Customers; one row for each contract. Invoices go to billing_email.';

ALTER TABLE organizations
    ADD COLUMN billing_email text;

ALTER TABLE organizations DISABLE TRIGGER organizations_touch;

UPDATE organizations
SET billing_email = owner.email
FROM (
    SELECT DISTINCT ON (organization_id) organization_id, email
    FROM users
    WHERE role = 'owner'
    ORDER BY organization_id, id
) AS owner
WHERE owner.organization_id = organizations.id;

ALTER TABLE organizations ENABLE TRIGGER organizations_touch;

ALTER TABLE organizations
    ALTER COLUMN billing_email SET NOT NULL,
    ADD CONSTRAINT organizations_billing_email_check CHECK (billing_email ~ '^[^@\s]+@[^@\s]+$');
