DELETE FROM api_keys
USING users
WHERE users.id = api_keys.created_by AND users.email ~ '@customer-[0-9]+\.example$';
