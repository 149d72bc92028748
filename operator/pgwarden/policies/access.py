"""What other rooms have to know of policies: which one an archive obeys, and what it keeps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pgwarden.api.durations import parse_duration
from pgwarden.api.references import LocalReference
from pgwarden.catalogue.contract import RetentionSettings
from pgwarden.policies.resource import BackupPolicy, Retention

NEVER = datetime.fromtimestamp(0, UTC)
LONGEST_RESTORE = timedelta(days=1)
"""So long a restore that nobody sees may take from a moment that leaves the window."""


def age(policy: BackupPolicy) -> tuple[datetime, str]:
    """Sorts policies, the oldest first."""
    return policy.metadata.creation_timestamp or NEVER, policy.metadata.uid


def governing(policies: Sequence[BackupPolicy], cluster: LocalReference, store: LocalReference) -> BackupPolicy | None:
    """The policy of a cluster's archive in a store: the oldest where there are several; None without one."""
    found = [each for each in policies if (each.spec.cluster_ref, each.spec.store_ref) == (cluster, store)]
    return min(found, key=age, default=None)


def retention_settings(retention: Retention) -> RetentionSettings:
    """What the agent is told to keep."""
    window = parse_duration(retention.window)
    return RetentionSettings(
        window_seconds=int(window.total_seconds()),
        grace_seconds=int(min(window, LONGEST_RESTORE).total_seconds()),
        minimum_fulls=retention.minimum_fulls,
        daily=retention.daily,
        weekly=retention.weekly,
        monthly=retention.monthly,
        yearly=retention.yearly,
    )
