-- An organization's page asks for its latest events; whole-table reports scan by time, for which BRIN is small enough.
CREATE INDEX usage_events_organization_idx ON usage_events (organization_id, occurred_at DESC);
CREATE INDEX usage_events_occurred_at_idx ON usage_events USING brin (occurred_at);
