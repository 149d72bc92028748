DROP VIEW monthly_invoices;
