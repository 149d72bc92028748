-- One row: how far a primary's WAL is safe, and its timeline; nulls on a standby. The timeline is that of the WAL being
-- written: the control file's lags behind a promotion.
SELECT
    (CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END)::text AS position,
    CASE
        WHEN NOT pg_is_in_recovery()
            THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
    END AS timeline
