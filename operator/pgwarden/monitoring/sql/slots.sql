-- Replication slots of archivers (pgwarden.archiving.contract.slot_name), and how much WAL the server keeps for each.
SELECT
    slot_name::pg_catalog.text AS name,
    active,
    greatest(0, pg_catalog.pg_wal_lsn_diff(
        CASE
            WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_flush_lsn()
        END,
        restart_lsn
    ))::pg_catalog.int8 AS kept_bytes
FROM pg_catalog.pg_replication_slots
WHERE slot_type = 'physical' AND NOT temporary AND slot_name OPERATOR(pg_catalog.~) '^pgwarden_[0-9a-f]{12}$'
ORDER BY name
