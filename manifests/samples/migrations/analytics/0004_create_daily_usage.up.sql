CREATE TABLE daily_usage (
    day date NOT NULL,
    organization_id bigint NOT NULL,
    model text NOT NULL,
    requests bigint NOT NULL,
    failed_requests bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_micros bigint NOT NULL,
    PRIMARY KEY (day, organization_id, model)
);

-- Counts the days from first_day to last_day again; may be run as often as one likes.
CREATE FUNCTION refresh_daily_usage(first_day date, last_day date) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
    DELETE FROM daily_usage WHERE day BETWEEN first_day AND last_day;
    WITH counted AS (
        INSERT INTO daily_usage
        SELECT (occurred_at AT TIME ZONE 'UTC')::date,
               organization_id,
               model,
               count(*),
               count(CASE WHEN status >= 400 THEN 1 END),
               sum(input_tokens),
               sum(output_tokens),
               sum(cost_micros)
        FROM usage_events
        WHERE occurred_at >= first_day::timestamp AT TIME ZONE 'UTC'
          AND occurred_at < (last_day + 1)::timestamp AT TIME ZONE 'UTC'
        GROUP BY 1, 2, 3
        RETURNING 1
    )
    SELECT count(*) FROM counted;
END;
