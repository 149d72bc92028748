-- The gateway asks for every request: which active key has this hash? Revoked ones need not be in the way.
CREATE INDEX api_keys_active_idx ON api_keys (organization_id, expires_at) WHERE revoked_at IS NULL;
