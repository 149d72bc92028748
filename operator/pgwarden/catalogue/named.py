"""Restore points that the archiver found in the WAL: one listing tells them all.

A planted one could have a restore begin where its name is never met. So a name ends with a proof, as those of the index
of moments do; with the store's catalogue key what nobody proves is passed over. A restore finds it in the WAL all the
same.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pgwarden.catalogue.contents import NamedPoint
from pgwarden.storage import layout
from pgwarden.storage.authenticity import proves_name
from pgwarden.storage.store import Store

_NAME = re.compile(
    r"(?P<all>(?P<time>[0-9]{8}T[0-9]{6}Z)-(?P<timeline>[0-9A-F]{8})-(?P<position>[0-9A-F]{16})-(?P<name>([0-9a-f]{2})*))"
    r"(-(?P<proof>[0-9a-f]{16}))?\.json"
)


def list_named(store: Store, archive: str, key: bytes | None = None) -> tuple[NamedPoint, ...]:
    """Every restore point that is believed, in the order of their positions. Raises what `Store` raises."""
    folder = layout.points_folder(archive)
    found = []
    for listed in store.list(folder):
        match = _NAME.fullmatch(listed.path.rsplit("/", 1)[-1])
        if match is None or (
            key is not None and not proves_name(match["proof"] or "", f"{folder}/{match['all']}", key)
        ):
            continue
        time = datetime.strptime(match["time"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        name = bytes.fromhex(match["name"]).decode("utf-8", "replace")
        found.append(NamedPoint(listed.path, time, int(match["timeline"], 16), int(match["position"], 16), name))
    return tuple(sorted(found, key=lambda each: (each.position, each.timeline)))
