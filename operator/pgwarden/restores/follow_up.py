"""What is left to do for people after a restore, by how it ended and what was found. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pgwarden.api.conditions import READY, is_true
from pgwarden.restores.parts import wants_parts
from pgwarden.restores.resource import InPlaceStatus, RestoreRequest

DUE = {
    "replication slot": "Make the replication slots that are gone anew, by the statements above, before their consumers"
    " go on; what these took since the restored moment the data do not hold any more, so compare, or copy them anew.",
    "subscription goes on": "Compare the tables of the subscriptions with their publishers', or copy them anew: what"
    " was sent between the restored moment and the restore is not sent again.",
    "subscription disabled": "Decide about the subscriptions that were disabled: enable them where the copy takes the"
    " original's place (ALTER SUBSCRIPTION ... SET (slot_name = ...), then ENABLE), drop them where it does not.",
    "foreign server": "Look at the foreign servers: they lead where the original's led.",
    "prepared transaction": "End the prepared transactions: COMMIT PREPARED or ROLLBACK PREPARED, after asking their"
    " transaction manager. They hold locks and keep vacuum from cleaning up.",
    "invalid index": "Rebuild the invalid indexes: REINDEX INDEX CONCURRENTLY.",
    "is not in the server's image": "Give the server an image with the extensions and libraries that are missing: what"
    " needs them fails until then.",
    "another version of collation": "Rebuild the indexes that are in the order of another version of a collation, by"
    " the statements above: until then queries may miss rows, and unique indexes may take duplicates.",
    "pg_cron": "Decide which jobs of pg_cron the copy shall run; they don't run until it is in"
    " shared_preload_libraries.",
    "settings of the original were not taken over": "Compare postgresql.conf, whose head names the settings that were"
    " left out, with what the service needs.",
}
"""By what a finding speaks of."""
WHY = "Write down why the data had to be restored, and what keeps it from happening again."


def follow_ups(request: RestoreRequest) -> list[str]:
    """Sentences, the most urgent first."""
    status = request.status
    if not is_true(status.conditions, READY):
        return unfinished(request)
    if status.in_place is not None:
        return [*after_in_place(request, status.in_place), WHY]
    if wants_parts(request):
        return [
            "Look at the restored data, then put them in the place of the originals, or copy out of them what is"
            f" missing: kubectl pgwarden restore show {request.metadata.name} prints the commands.",
            "Drop the restored databases that nobody needs any more: no backup policy was asked whether to keep them.",
            WHY,
        ]
    password = f", the superuser's is in Secret {status.secret_name}" if status.secret_name else ""
    target = request.spec.target.new_instance
    made = target is not None and target.database_cluster
    named = f"DatabaseCluster {target.name}" if made and target is not None else "once it has a DatabaseCluster"
    return [
        f"Point the applications to {status.host}, or copy what was lost back into the original; roles have their old"
        f" passwords{password}.",
        "Find what was written in the lost window elsewhere: logs of the applications, queues, the original itself.",
        *due(status.findings),
        f"Take a full backup of the new instance, or give it a BackupPolicy ({named}): no backup of it exists.",
        WHY,
    ]


def due(findings: Sequence[str]) -> list[str]:
    """What the findings ask for, each once."""
    return [sentence for part, sentence in DUE.items() if any(part in finding for finding in findings)]


def after_in_place(request: RestoreRequest, place: InPlaceStatus) -> list[str]:
    """After the data of the cluster's own server were replaced."""
    name = request.metadata.name
    backups = (
        f"See that the full backup of the restored data succeeds: kubectl get databasebackup {' '.join(place.fulls)}."
        if place.fulls
        else "See that there is a full backup of the restored data: a BackupPolicy that takes fulls begins one by"
        " itself (kubectl get databasebackups); without one take it now (kubectl pgwarden backup now)."
    )
    old = f"What was lost may be in the old data, {place.old_data} on claim {place.claim}" if place.old_data else ""
    return [
        "See that the applications work with what they find; roles have the passwords of the restored moment.",
        "Find what was written in the lost window elsewhere: logs of the applications, queues"
        + (f". {old}." if old else "."),
        *due(request.status.findings),
        backups,
        *([f"Delete the old data once nothing in them is needed: kubectl pgwarden restore discard-old {name}."]
          if place.old_data else []),
    ]  # fmt: skip


def unfinished(request: RestoreRequest) -> list[str]:
    """After a restore that handed nothing over."""
    told = ["Do what the message at the head says, and make a new RestoreRequest with another name."]
    if request.status.secret_name:
        told.append("Delete what this one left when nothing needs it: the objects with the label"
                    f" pgwarden.dev/owner-uid={request.metadata.uid}.")  # fmt: skip
    return [*told, "Write down why the data have to be restored, and what keeps it from happening again."]
