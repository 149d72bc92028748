ALTER TABLE organizations DROP COLUMN limits;
