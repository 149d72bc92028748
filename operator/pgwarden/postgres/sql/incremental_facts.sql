-- One row: whether this server can take incremental backups now, and where its WAL and its last checkpoint are.
SELECT
    current_setting('summarize_wal')::bool AS summarize_wal,
    current_setting('data_checksums')::bool AS data_checksums,
    current_setting('wal_log_hints')::bool AS wal_log_hints,
    pg_is_in_recovery() AS in_recovery,
    (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)::text AS position,
    (SELECT redo_lsn::text FROM pg_control_checkpoint()) AS redo
