CREATE FUNCTION create_usage_events_partition(month date) RETURNS text
LANGUAGE plpgsql
AS $function$
DECLARE
    first_day date := date_trunc('month', month)::date;
    partition_name text := 'usage_events_' || to_char(first_day, 'YYYY_MM');
BEGIN
    EXECUTE format(
        $ddl$CREATE TABLE IF NOT EXISTS %I PARTITION OF usage_events FOR VALUES FROM (%L) TO (%L)$ddl$,
        partition_name,
        first_day::timestamp AT TIME ZONE 'UTC',
        (first_day + interval '1 month') AT TIME ZONE 'UTC'
    );
    RETURN partition_name;
END
$function$;

DO $$
BEGIN
    PERFORM create_usage_events_partition(month::date)
    FROM generate_series(date '2026-06-01', date '2027-01-01', interval '1 month') AS month;
END
$$;
