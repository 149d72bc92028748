-- What the WAL summarizer has written, one row for each file, by position.
SELECT
    tli,
    start_lsn::text,
    end_lsn::text
FROM pg_available_wal_summaries()
WHERE tli = %s
ORDER BY start_lsn
