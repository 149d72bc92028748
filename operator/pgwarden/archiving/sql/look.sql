-- One look while WAL streams: a moment (the clock first, so that all that was committed by then lies before the
-- position), whether commits wait for us, and the slot. Parameters: process id of our WAL sender, name of the slot.
SELECT
    pg_catalog.clock_timestamp() AS time,
    pg_catalog.pg_current_wal_flush_lsn()::pg_catalog.text AS lsn,
    ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))
        ::pg_catalog.bit(32)::pg_catalog.int4 AS timeline,
    pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text AS next_xid,
    pg_catalog.current_setting('synchronous_standby_names') AS synchronous_standby_names,
    sender.pid AS sender_pid,
    sender.sync_state,
    slot.slot_name IS NOT NULL AS slot_exists,
    slot.active,
    slot.wal_status,
    slot.restart_lsn::pg_catalog.text,
    slot.safe_wal_size
FROM (VALUES (1)) AS one
LEFT JOIN pg_catalog.pg_stat_replication AS sender ON sender.pid = %s
LEFT JOIN pg_catalog.pg_replication_slots AS slot ON slot.slot_name = %s
