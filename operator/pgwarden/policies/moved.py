"""What a policy says of its archive is of one store: with another `storeRef` none of it holds. Pure."""

from __future__ import annotations

from pgwarden.policies.looks import ARCHIVE_SOUND
from pgwarden.policies.recoverable import RECOVERABLE
from pgwarden.policies.resource import BackupPolicy

OF_THE_ARCHIVE = (
    "last_full",
    "last_incremental",
    "last_logical",
    "earliest_recoverable",
    "latest_recoverable",
    "wal",
    "catalogue",
)
"""Fields of the status that tell what lies in the store, and are nothing where nobody has looked."""
JUDGED_BY_IT = (RECOVERABLE, ARCHIVE_SOUND)
"""Conditions that remember what was said before."""


def in_its_store(policy: BackupPolicy) -> BackupPolicy:
    """The policy with what its status says of an earlier store taken away.

    A status that names none was written before it did: it is taken to be of the present store.
    """
    status, store = policy.status, policy.spec.store_ref.name
    if status.store not in ("", store):
        conditions = [each for each in status.conditions if each.type not in JUDGED_BY_IT]
        fresh = {"conditions": conditions, "attempts": [], **dict.fromkeys(OF_THE_ARCHIVE)}
        status = status.model_copy(update=fresh)
    return policy.model_copy(update={"status": status.model_copy(update={"store": store})})
