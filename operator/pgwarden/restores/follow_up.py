"""What is left to do for people after a restore, by how it ended and what was found. Pure."""

from __future__ import annotations

from pgwarden.api.conditions import READY, is_true
from pgwarden.restores.resource import RestoreRequest

DUE = {
    "subscription disabled": "Decide about the subscriptions that were disabled: enable them where the copy takes the"
    " original's place (ALTER SUBSCRIPTION ... SET (slot_name = ...), then ENABLE), drop them where it does not.",
    "foreign server": "Look at the foreign servers: they lead where the original's led.",
    "prepared transaction": "End the prepared transactions: COMMIT PREPARED or ROLLBACK PREPARED, after asking their"
    " transaction manager. They hold locks and keep vacuum from cleaning up.",
    "invalid index": "Rebuild the invalid indexes: REINDEX INDEX CONCURRENTLY.",
    "pg_cron": "Decide which jobs of pg_cron the copy shall run; they don't run until it is in"
    " shared_preload_libraries.",
    "settings of the original were not taken over": "Compare postgresql.conf, whose head names the settings that were"
    " left out, with what the service needs.",
}
"""By what a finding speaks of."""


def follow_ups(request: RestoreRequest) -> list[str]:
    """Sentences, the most urgent first."""
    status = request.status
    if not is_true(status.conditions, READY):
        return unfinished(request)
    password = f", the superuser's is in Secret {status.secret_name}" if status.secret_name else ""
    target = request.spec.target.new_instance
    made = target is not None and target.database_cluster
    named = f"DatabaseCluster {target.name}" if made and target is not None else "once it has a DatabaseCluster"
    return [
        f"Point the applications to {status.host}, or copy what was lost back into the original; roles have their old"
        f" passwords{password}.",
        "Find what was written in the lost window elsewhere: logs of the applications, queues, the original itself.",
        *(sentence for part, sentence in DUE.items() if any(part in finding for finding in status.findings)),
        f"Take a full backup of the new instance, or give it a BackupPolicy ({named}): no backup of it exists.",
        "Write down why the data had to be restored, and what keeps it from happening again.",
    ]


def unfinished(request: RestoreRequest) -> list[str]:
    """After a restore that handed nothing over."""
    told = ["Do what the message at the head says, and make a new RestoreRequest with another name."]
    if request.status.secret_name:
        told.append("Delete what this one left when nothing needs it: the objects with the label"
                    f" pgwarden.dev/owner-uid={request.metadata.uid}.")  # fmt: skip
    return [*told, "Write down why the data have to be restored, and what keeps it from happening again."]
