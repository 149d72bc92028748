"""A table was dropped a moment ago, and what was before is asked for at once: the archive tells of it only later."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from pgwarden.restores.contract import TargetPoint
from pgwarden.restores.in_place_contract import Action
from tests.support.postgres import new_folder, owned_folder, postgres_server
from tests.support.restore_pod import Container, RestorePod
from tests.support.stored_backup import claim, store_backup
from tests.support.wal_archive import WALArchive

WAITS = "the archive may tell of that moment within a minute"


def until_logged(container: Container, text: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while text not in container.log:
        assert container.running and time.monotonic() < deadline, container.log
        time.sleep(0.1)


def test_what_was_a_moment_ago_is_waited_for(major: int, volume: Path) -> None:
    folder = new_folder()
    with postgres_server(major) as server:
        archive = WALArchive(server, claim(owned_folder(folder / "store")))
        server.execute("CREATE TABLE keys (number int)")
        store_backup(server, archive.location)
        archive.note_moment()
        server.execute("INSERT INTO keys VALUES (1)")
        target = archive.position()[0]
        server.execute("DROP TABLE keys")
        archive.store_segments()
        point = TargetPoint(time=target)
        pod = RestorePod(major, volume, archive.location, "", archive=archive.archive, target=point)
        restore = pod.start_restore()
        # In place, it is looked for before anything stops.
        in_place = RestorePod(
            major, volume, archive.location, "", archive=archive.archive, target=point, replaces="7301-1"
        )
        preflight = in_place.start_act(Action.PREFLIGHT, volume_mounted=False)
        until_logged(restore, WAITS)
        until_logged(preflight, WAITS)
        archive.note_moment()
        passed = preflight.result()
        assert passed.reason == "Passed", passed.message
        in_place.destroy()
        assert restore.result().reason == "LaidOut", restore.log
    _, recovered, _ = pod.run()
    assert recovered.reason == "Recovered", (recovered, pod.server_log)
    with pod.instance() as instance, instance.connect() as copy:
        assert copy.execute("SELECT number FROM keys").fetchall() == [(1,)]
    pod.destroy()
    shutil.rmtree(folder)
