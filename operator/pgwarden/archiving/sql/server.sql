-- Who the server is, asked before WAL is taken from it. The timeline is that of the WAL being written: the control
-- file's lags behind a promotion.
SELECT
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) AS system_identifier,
    CASE
        WHEN pg_catalog.pg_is_in_recovery() THEN 0
        ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))
            ::pg_catalog.bit(32)::pg_catalog.int4
    END AS timeline,
    (SELECT setting::pg_catalog.int8 FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size') AS segment_bytes,
    pg_catalog.current_setting('synchronous_standby_names') AS synchronous_standby_names,
    pg_catalog.current_setting('max_slot_wal_keep_size') AS max_slot_wal_keep_size,
    -- Patroni includes the configuration it found under this name, and names its sessions.
    EXISTS (SELECT FROM pg_catalog.pg_settings WHERE sourcefile LIKE '%/postgresql.base.conf')
        OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name LIKE 'Patroni%') AS patroni
