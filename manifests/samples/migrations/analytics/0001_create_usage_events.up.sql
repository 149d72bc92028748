-- One row for each request to a model. Partitioned by month: old months are dropped whole, and a query for last week
-- reads one or two of them.
CREATE TABLE usage_events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    occurred_at timestamptz NOT NULL,
    organization_id bigint NOT NULL,
    api_key_id bigint NOT NULL,
    model text NOT NULL,
    status smallint NOT NULL,
    input_tokens integer NOT NULL CHECK (input_tokens >= 0),
    output_tokens integer NOT NULL CHECK (output_tokens >= 0),
    cost_micros bigint NOT NULL CHECK (cost_micros >= 0),
    latency_ms integer NOT NULL CHECK (latency_ms >= 0),
    attributes jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (occurred_at, id)
) PARTITION BY RANGE (occurred_at);

-- Nothing is refused because its month was not made in time.
CREATE TABLE usage_events_default PARTITION OF usage_events DEFAULT;

COMMENT ON TABLE usage_events IS 'Requests to models; partitioned by month of occurred_at (UTC).';
COMMENT ON COLUMN usage_events.cost_micros IS 'Millionths of a US dollar.';
