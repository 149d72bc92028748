-- A server that may be promoted one day, and our slot there. Parameter: name of the slot.
SELECT
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) AS system_identifier,
    slot.slot_name IS NOT NULL AS slot_exists,
    slot.active,
    slot.wal_status,
    slot.restart_lsn::pg_catalog.text
FROM (VALUES (1)) AS one
LEFT JOIN pg_catalog.pg_replication_slots AS slot ON slot.slot_name = %s
