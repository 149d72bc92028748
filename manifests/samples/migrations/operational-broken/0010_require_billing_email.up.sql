-- Wrong on purpose: the table has rows, and they have no billing address yet.
COMMENT ON TABLE organizations IS 'Customers; one row for each contract. Invoices go to billing_email.';

ALTER TABLE organizations
    ADD COLUMN billing_email text NOT NULL;
