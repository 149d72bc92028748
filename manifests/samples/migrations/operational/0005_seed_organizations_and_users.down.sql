-- Takes the users along: users_organization_id_fkey cascades.
DELETE FROM organizations WHERE slug ~ '^customer-[0-9]+$';
