-- What lies in the months goes back to the default partition, so that going down loses no event.
DO $$
DECLARE
    month regclass;
BEGIN
    FOR month IN
        SELECT inhrelid::regclass
        FROM pg_inherits
        WHERE inhparent = 'usage_events'::regclass AND inhrelid <> 'usage_events_default'::regclass
        ORDER BY inhrelid::regclass::text
    LOOP
        EXECUTE format('ALTER TABLE usage_events DETACH PARTITION %s', month);
        EXECUTE format('INSERT INTO usage_events OVERRIDING SYSTEM VALUE SELECT * FROM %s', month);
        EXECUTE format('DROP TABLE %s', month);
    END LOOP;
END
$$;

DROP FUNCTION create_usage_events_partition(date);
