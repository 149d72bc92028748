"""Which operations may run together on one PostgreSQL cluster, as data.

The key is the system identifier, not the DatabaseCluster: two objects may lead to one cluster.
"""

from __future__ import annotations

from collections.abc import Iterable

from pgwarden.jobs.task import Operation

# While a cluster's data are replaced nothing else may work on it. Only restores in place carry its system identifier.
REPLACING = frozenset({Operation.RESTORE, Operation.IN_PLACE, Operation.SEE_CONNECTIONS})
EXCLUDES: dict[Operation, frozenset[Operation]] = {
    # Two runners would only wait for each other's advisory lock, each holding a connection and a Job.
    # They are kept apart per database by that lock, so migrations of two databases do run together.
    Operation.MIGRATE: REPLACING,
    # Two base backups at once double the read load and finish no earlier.
    Operation.BACKUP: frozenset({Operation.BACKUP}) | REPLACING,
    # Dumps only read, as any query does; two at once would hold two sets of old snapshots for no gain.
    Operation.LOGICAL_BACKUP: frozenset({Operation.LOGICAL_BACKUP}) | REPLACING,
    # A restore into a new instance touches nothing of the old one.
    Operation.RESTORE: frozenset(),
    # Nor does a drill; two at once would each measure how long a restore takes beside another one.
    Operation.DRILL: frozenset({Operation.DRILL}),
    # The server is about to be stopped: what works on it ends first, in its own time.
    Operation.IN_PLACE: frozenset(
        {Operation.MIGRATE, Operation.BACKUP, Operation.LOGICAL_BACKUP, Operation.RESTORE_PARTS, Operation.LOAD_DUMP}
    ),
    # Whatever it finds connected it names, and it began after the others had ended.
    Operation.SEE_CONNECTIONS: frozenset(),
    # Into databases of their own: nothing else knows of them before they are whole.
    Operation.RESTORE_PARTS: REPLACING,
    Operation.LOAD_DUMP: REPLACING,
    Operation.PROBE_STORE: frozenset(),
    # One small object in the store.
    Operation.FILE_REPORT: frozenset(),
    # Two prunes would only find each other's objects gone. What a backup or a restore needs is named in the task; a
    # restore that begins later, or that nobody here sees, finds what was in the window for a day more, and resolves its
    # target again where a backup was taken from under it.
    Operation.CATALOGUE: frozenset({Operation.CATALOGUE}),
}


def blocking(operation: Operation, running: Iterable[Operation]) -> Operation | None:
    """The first running operation that this one must wait for, or None."""
    excluded = EXCLUDES.get(operation, frozenset())
    return next((other for other in running if other in excluded), None)
