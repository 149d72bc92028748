DROP TRIGGER users_audit ON users;
DROP TRIGGER api_keys_audit ON api_keys;
DROP FUNCTION write_audit_log();
DROP TABLE audit_log;
