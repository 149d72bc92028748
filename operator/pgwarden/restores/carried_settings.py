"""Which settings of the original server a copy takes over. Data only.

An allow list: a setting that isn't named here stays at its default in the copy. Left out on purpose are those that
reach outside or name places that are not there (archiving, replication, listening, TLS files, log folders, programs),
those that make commits wait for standbys the copy doesn't have (synchronous_standby_names), those that give up
safety (fsync, full_page_writes), and those that only some builds or machines know (huge_pages, io_method,
wal_compression, default_toast_compression, max_stack_depth).
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# What a query's answer looks like: also in force while checks run.
ANSWER_SETTINGS = words(
    """
    array_nulls backslash_quote bytea_output DateStyle default_text_search_config extra_float_digits IntervalStyle
    search_path standard_conforming_strings TimeZone timezone_abbreviations transform_null_equals xmlbinary xmloption
    """
)

SERVER_SETTINGS = words(
    """
    autovacuum autovacuum_work_mem backend_flush_after bgwriter_delay bgwriter_flush_after bgwriter_lru_maxpages
    bgwriter_lru_multiplier checkpoint_completion_target checkpoint_flush_after checkpoint_timeout
    checkpoint_warning commit_delay commit_siblings commit_timestamp_buffers compute_query_id constraint_exclusion
    cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost cursor_tuple_fraction deadlock_timeout
    default_statistics_target default_tablespace default_transaction_deferrable default_transaction_isolation
    effective_cache_size effective_io_concurrency from_collapse_limit gin_fuzzy_search_limit gin_pending_list_limit
    hash_mem_multiplier idle_in_transaction_session_timeout idle_session_timeout jit jit_above_cost
    jit_inline_above_cost jit_optimize_above_cost join_collapse_limit lc_messages lc_monetary lc_numeric lc_time
    lock_timeout log_autovacuum_min_duration log_checkpoints log_connections log_disconnections log_duration
    log_error_verbosity log_line_prefix log_lock_waits log_min_duration_sample log_min_duration_statement
    log_min_error_statement log_min_messages log_parameter_max_length log_parameter_max_length_on_error
    log_recovery_conflict_waits log_statement log_statement_sample_rate log_temp_files log_timezone
    log_transaction_sample_rate logical_decoding_work_mem maintenance_io_concurrency maintenance_work_mem
    max_active_replication_origins max_connections max_files_per_process max_locks_per_transaction
    max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather
    max_pred_locks_per_page max_pred_locks_per_relation max_pred_locks_per_transaction max_prepared_transactions
    max_replication_slots max_slot_wal_keep_size max_wal_senders max_wal_size max_worker_processes
    min_parallel_index_scan_size min_parallel_table_scan_size min_wal_size multixact_member_buffers
    multixact_offset_buffers notify_buffers parallel_leader_participation parallel_setup_cost parallel_tuple_cost
    password_encryption plan_cache_mode random_page_cost recursive_worktable_factor reserved_connections row_security
    seq_page_cost serializable_buffers shared_buffers statement_timeout subtransaction_buffers summarize_wal
    superuser_reserved_connections synchronize_seqscans synchronous_commit temp_buffers temp_file_limit
    temp_tablespaces track_activities track_activity_query_size track_commit_timestamp track_counts
    track_cost_delay_timing track_functions track_io_timing track_wal_io_timing transaction_buffers
    transaction_timeout vacuum_buffer_usage_limit vacuum_cost_delay vacuum_cost_limit vacuum_cost_page_dirty
    vacuum_cost_page_hit vacuum_cost_page_miss vacuum_failsafe_age vacuum_freeze_min_age vacuum_freeze_table_age
    vacuum_max_eager_freeze_failure_rate vacuum_multixact_failsafe_age vacuum_multixact_freeze_min_age
    vacuum_multixact_freeze_table_age vacuum_truncate wal_buffers wal_decode_buffer_size wal_keep_size wal_level
    wal_sender_timeout wal_skip_threshold wal_summary_keep_time wal_writer_delay wal_writer_flush_after work_mem
    """
)
SERVER_SETTING_PREFIXES = ("autovacuum_", "enable_", "geqo")

# Libraries that only look: they reach nothing outside and change no data. Every other one may start workers of its own
# (pg_cron runs jobs, timescaledb drops old chunks, pg_partman drops partitions) and is left to a person to put back.
INERT_LIBRARIES = words(
    """
    auth_delay auto_explain passwordcheck pg_hint_plan pg_qualstats pg_stat_kcache pg_stat_statements pg_wait_sampling
    pgaudit plpgsql_check
    """
)

# What recovery cannot do with less of than the original had (PostgreSQL documentation, "Hot Standby",
# "Administrator's Overview"; replication origins: "Replication Progress Tracking").
AT_LEAST_AS_ORIGINAL = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
MOST_REPLICATION_SLOTS = 1024
"""pg_control does not tell their number, and the record may have been tampered with: each costs shared memory."""


def is_carried(name: str) -> bool:
    """Whether the new instance takes the setting over."""
    return name in SERVER_SETTINGS or name in ANSWER_SETTINGS or name.startswith(SERVER_SETTING_PREFIXES)
