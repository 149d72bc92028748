"""Which DatabaseBackup objects of a policy have had their time. The backups they tell of are retention's. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from pgwarden.api.durations import parse_duration
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import Run, RunType, newest


def outlived(policy: BackupPolicy, runs: Sequence[Run], in_use: Collection[str], now: datetime) -> list[Run]:
    """Objects to delete, oldest first.

    Kept are the unfinished, the failed of `failedHistoryDays`, the restorable fulls of the window and in any case the
    newest one, what a restore names or a person pinned (`in_use`), and of the others the last `historyLimit`.
    """
    spec = policy.spec
    window = now - parse_duration(spec.retention.window)
    failed_since = now - timedelta(days=spec.failed_history_days)
    newest_full = newest(runs, RunType.FULL)
    others: list[Run] = []
    gone: list[Run] = []
    for run in runs:
        if not run.finished or run.name in in_use or run == newest_full:
            continue
        if run.failed:
            if run.made < failed_since:
                gone.append(run)
        elif not (run.type is RunType.FULL and run.restorable and run.when >= window):
            others.append(run)
    others.sort(key=lambda run: (run.when, run.name))
    gone += others[: max(0, len(others) - spec.history_limit)]
    return sorted(gone, key=lambda run: (run.when, run.name))
