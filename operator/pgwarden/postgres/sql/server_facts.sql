-- One row: what a backup's record says about the server as a whole.
SELECT
    version() AS version_text,
    (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
    pg_is_in_recovery() AS from_standby,
    current_setting('block_size')::int AS block_size,
    (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS wal_segment_bytes,
    current_setting('data_checksums')::bool AS data_checksums,
    current_setting('data_directory_mode') AS data_directory_mode,
    -- pg_settings hides the settings that the role may not see.
    (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory,
    (SELECT rolname FROM pg_roles WHERE oid = 10) AS bootstrap_superuser
