-- Who changed what about access. Written by triggers, so that no code path can forget it.
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL DEFAULT current_user,
    action text NOT NULL CHECK (action IN ('INSERT', 'UPDATE', 'DELETE')),
    table_name text NOT NULL,
    row_id bigint NOT NULL,
    changes jsonb NOT NULL
);

CREATE INDEX audit_log_row_idx ON audit_log (table_name, row_id, happened_at DESC);

CREATE FUNCTION write_audit_log() RETURNS trigger
LANGUAGE plpgsql
AS $audit$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - 'key_hash' END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - 'key_hash' END;
BEGIN
    INSERT INTO audit_log (action, table_name, row_id, changes)
    VALUES (
        TG_OP,
        TG_TABLE_NAME,
        (coalesce(after, before) ->> 'id')::bigint,
        jsonb_build_object('before', before, 'after', after)
    );
    RETURN NULL;
END
$audit$;

CREATE TRIGGER api_keys_audit AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION write_audit_log();
CREATE TRIGGER users_audit AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION write_audit_log();
