"""Names and labels of what the operator makes: deterministic, so that a crash between two steps repeats nothing."""

from __future__ import annotations

import hashlib

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "pgwarden"
COMPONENT_LABEL = "app.kubernetes.io/component"
OWNER_UID_LABEL = "pgwarden.dev/owner-uid"
OWNER_KIND_LABEL = "pgwarden.dev/owner-kind"
OWNER_NAME_LABEL = "pgwarden.dev/owner-name"
OPERATION_LABEL = "pgwarden.dev/operation"
CLUSTER_LABEL = "pgwarden.dev/cluster"
SYSTEM_IDENTIFIER_LABEL = "pgwarden.dev/system-identifier"
STORE_CLAIM_LABEL = "pgwarden.dev/store-claim"
"""Of every pod that mounts a BackupStore's claim: its name."""
ATTEMPT_ANNOTATION = "pgwarden.dev/attempt"

# A Job's name becomes a label of its pods, and labels end at 63 characters.
NAME_LENGTH = 40
HASH_LENGTH = 10
LABEL_LENGTH = 63


def job_name(object_name: str, *identity: str) -> str:
    """`<object's name cut to 40>-<10 hex of the identity>`: kind, UID and attempt or scheduled time of the work."""
    head = object_name[:NAME_LENGTH].rstrip("-.").replace(".", "-")
    return f"{head}-{short_hash(*identity)}"


def short_hash(*parts: str) -> str:
    """10 hex digits of the SHA-256 over the parts, which cannot run into each other."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()[:HASH_LENGTH]


def label_value(text: str) -> str:
    """`text` as a label's value: cut to 63 characters; names of objects may be longer than that."""
    return text[:LABEL_LENGTH].rstrip("-._")
