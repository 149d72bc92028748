DROP TRIGGER organizations_touch ON organizations;
DROP TRIGGER users_touch ON users;
DROP TRIGGER api_keys_touch ON api_keys;
DROP FUNCTION touch_updated_at();
