-- Timeline and end of the WAL that a primary has written, and bytes of a segment; no row on a standby.
SELECT
    ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))
        ::pg_catalog.bit(32)::pg_catalog.int4 AS timeline,
    pg_catalog.pg_current_wal_flush_lsn()::pg_catalog.text AS lsn,
    (SELECT setting::pg_catalog.int8 FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size') AS segment_bytes
WHERE NOT pg_catalog.pg_is_in_recovery()
