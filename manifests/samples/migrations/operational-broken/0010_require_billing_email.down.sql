ALTER TABLE organizations DROP COLUMN billing_email;

COMMENT ON TABLE organizations IS 'Customers; one row for each contract.';
