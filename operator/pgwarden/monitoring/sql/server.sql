-- What a server is. pg_control_* need no more than pg_monitor grants (PostgreSQL documentation, "System Information
-- Functions > Control Data Functions").
SELECT
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    system.system_identifier::pg_catalog.text AS system_identifier,
    CASE
        WHEN pg_catalog.pg_is_in_recovery() THEN checkpoint.timeline_id
        -- The control file's timeline is that of the last checkpoint; after a promotion the WAL file's is newer.
        ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))
            ::pg_catalog.bit(32)::pg_catalog.int4
    END AS timeline
FROM pg_catalog.pg_control_system() AS system
CROSS JOIN pg_catalog.pg_control_checkpoint() AS checkpoint
