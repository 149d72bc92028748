-- The first statement of its transaction: the snapshot is taken by it.
SELECT pg_export_snapshot(), clock_timestamp()
