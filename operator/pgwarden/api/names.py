"""Field names as the Kubernetes API conventions want them: camelCase, initialisms in capitals."""

from __future__ import annotations

INITIALISMS = {"lsn": "LSN", "id": "ID", "kib": "KiB", "mib": "MiB", "ca": "CA", "tls": "TLS", "url": "URL"}


def to_api_name(name: str) -> str:
    """`start_lsn` -> `startLSN`, `backup_id` -> `backupID`; a name's first word stays small (`tls`)."""
    first, *rest = name.split("_")
    return first + "".join(INITIALISMS.get(word, word.capitalize()) for word in rest)
