"""Recovery never ends early: WAL that is missing stops the server, and nothing is promoted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path

import pytest

from pgwarden.api.wal import segment_name
from pgwarden.jobs.files import ClaimLocation, StoreLocation
from pgwarden.restores.archived_wal import ArchivedWAL
from pgwarden.restores.configuration import RESTORE_SCRIPT, restore_command
from pgwarden.restores.paths import RestorePaths
from pgwarden.restores.wal_plan import WALPlan, Way, archived_segments
from pgwarden.restores.wal_queue import WALQueue
from pgwarden.storage import layout
from pgwarden.storage.objects import Packing, write_object
from pgwarden.storage.store import open_store
from pgwarden.storage.wal_listing import wal_pieces
from tests.support.postgres import wait_until

from .conftest import NewPod, StoredBackup

SHELLS = [["sh"], ["bash", "--posix"], ["busybox", "sh"]]
SEGMENT = "000000010000000000000003"


def delete(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("which", [0, 1, -1], ids=["first", "second", "last"])
@pytest.mark.parametrize("damage", [delete, cut])
def test_wal_that_is_missing_stops_recovery(
    stored: StoredBackup, new_pod: NewPod, which: int, damage: Callable[[Path], None]
) -> None:
    pod = new_pod(stored)
    pod.restore()
    segments = sorted(path for path in pod.paths.wal.iterdir() if len(path.name) == 24)
    lost = segments[which]
    damage(lost)
    server = pod.start_server()
    result = pod.recover()
    assert (result.outcome, result.reason) == ("Failed", "WALMissing"), result
    assert lost.name in result.message
    server.wait()
    assert "archive recovery complete" not in pod.server_log
    assert (pod.paths.data / "recovery.signal").exists(), "the copy still waits for its WAL"
    assert not list((pod.paths.data / "pg_wal").glob("*.history")), "no timeline was begun"
    assert not pod.paths.pgdata.exists()


def test_a_whole_segment_with_other_content_is_not_replayed_past(stored: StoredBackup, new_pod: NewPod) -> None:
    """The right size, and zeros: PostgreSQL takes it for the end of WAL, before the end of the backup."""
    pod = new_pod(stored)
    pod.restore()
    last = sorted(path for path in pod.paths.wal.iterdir() if len(path.name) == 24)[-1]
    last.write_bytes(bytes(16 << 20))
    pod.start_server()
    result = pod.recover()
    assert (result.outcome, result.reason) == ("Failed", "RecoveryFailed"), result
    assert "FATAL" in result.message
    assert not pod.paths.pgdata.exists()


# restore_command alone


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    for part in ("present", "absent", "requests"):
        (tmp_path / "wal" / part).mkdir(parents=True)
    return tmp_path / "wal"


def start(shell: list[str], queue: Path, name: str) -> subprocess.Popen[bytes]:
    """restore_command as PostgreSQL starts it: the setting's value, %f and %p filled in, by the shell."""
    scripts = Path(str(resources.files("pgwarden.restores") / "templates"))
    command = restore_command(RestorePaths(queue, queue.parent, "uid")).replace(str(queue.parent / RESTORE_SCRIPT), "@")
    command = command.replace("sh @", " ".join([*shell, str(scripts / RESTORE_SCRIPT)]))
    command = command.replace("%f", name).replace("%p", str(queue.parent / "RECOVERYXLOG"))
    return subprocess.Popen([*shell, "-c", command], stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.fixture
def asking(queue: Path) -> Iterator[Callable[[list[str], str], subprocess.Popen[bytes]]]:
    """Starts restore_command and waits until it has asked."""
    started: list[subprocess.Popen[bytes]] = []

    def ask(shell: list[str], name: str) -> subprocess.Popen[bytes]:
        process = start(shell, queue, name)
        started.append(process)
        wait_until(lambda: (queue / "requests" / name).exists() or process.poll() is not None, "nothing was asked")
        assert process.poll() is None
        return process

    yield ask
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


Ask = Callable[[list[str], str], subprocess.Popen[bytes]]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_restore_command_takes_what_is_there(shell: list[str], queue: Path) -> None:
    (queue / "present" / SEGMENT).write_bytes(b"wal")
    assert start(shell, queue, SEGMENT).wait(10) == 0
    assert (queue.parent / "RECOVERYXLOG").read_bytes() == b"wal"
    assert (queue / "last").read_text().strip() == SEGMENT


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_restore_command_waits_until_a_whole_file_is_renamed_in(shell: list[str], queue: Path, asking: Ask) -> None:
    process = asking(shell, SEGMENT)
    (queue / "half").write_bytes(b"wal")
    (queue / "half").rename(queue / "present" / SEGMENT)
    assert process.wait(10) == 0


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_restore_command_says_absent_only_when_told_so(shell: list[str], queue: Path, asking: Ask) -> None:
    process = asking(shell, "00000002.history")
    (queue / "absent" / "00000002.history").touch()
    assert process.wait(10) == 1


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_restore_command_stops_the_server_on_any_failure(shell: list[str], queue: Path, asking: Ask) -> None:
    process = asking(shell, SEGMENT)
    (queue / "failed").touch()
    assert process.wait(10) == 255


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_failure_counts_more_than_absent(shell: list[str], queue: Path) -> None:
    (queue / "failed").touch()
    (queue / "absent" / SEGMENT).touch()
    assert start(shell, queue, SEGMENT).wait(10) == 255


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_copy_that_fails_stops_the_server(shell: list[str], queue: Path) -> None:
    (queue / "present" / SEGMENT).write_bytes(b"wal")
    (queue.parent / "RECOVERYXLOG").mkdir()
    (queue.parent / "RECOVERYXLOG" / SEGMENT).mkdir()
    assert start(shell, queue, SEGMENT).wait(10) == 255


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_restore_command_asks_again_when_its_answer_is_gone(shell: list[str], queue: Path, asking: Ask) -> None:
    process = asking(shell, SEGMENT)
    (queue / "requests" / SEGMENT).unlink()
    wait_until((queue / "requests" / SEGMENT).exists, "it was not asked for again")
    (queue / "half").write_bytes(b"wal")
    (queue / "half").rename(queue / "present" / SEGMENT)
    assert process.wait(10) == 0


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_command_that_is_ended_does_not_say_absent(shell: list[str], asking: Ask) -> None:
    process = asking(shell, SEGMENT)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM


def test_a_script_that_is_gone_stops_the_server(queue: Path) -> None:
    command = restore_command(RestorePaths(queue, queue.parent, "uid"))
    assert subprocess.run(["sh", "-c", command], stderr=subprocess.DEVNULL).returncode == 255


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_queue_that_is_gone_stops_the_server(shell: list[str], tmp_path: Path) -> None:
    assert start(shell, tmp_path / "nowhere", SEGMENT).wait(10) == 255


# restore_command and the agent's half of it together


SMALL = 1 << 16


@pytest.fixture
def archived(tmp_path: Path) -> Iterator[WALQueue]:
    """A queue that answers out of an archive of ten segments."""
    store = open_store(StoreLocation(claim=ClaimLocation(path=str(tmp_path))))
    names = [segment_name(1, number, SMALL) for number in range(10)]
    for name in names:
        write_object(
            store, layout.segment_object("shop", name, encrypted=False), [name.encode().ljust(SMALL)], Packing()
        )
    pieces = list(wal_pieces(store.list(layout.timeline_folder("shop", 1)), SMALL))
    plan = WALPlan((Way(1, 0, None),), 10 * SMALL, SMALL, archived=archived_segments(pieces, SMALL))
    queue = WALQueue(tmp_path / "wal", tmp_path, plan)
    queue.open()
    source = ArchivedWAL(store, "shop", [], plan, queue.coming, queue.present)
    queue.source = source
    yield queue
    source.close()


def test_recovery_may_go_back_to_a_segment_that_lies_behind(archived: WALQueue) -> None:
    """PostgreSQL reads ahead of what it replays, and at the end it reads the last record once more."""
    for number in (0, 1, 2, 7, 3, 4, 9, 0, 8):
        name = segment_name(1, number, SMALL)
        process = start(["sh"], archived.folder, name)
        wait_until(lambda asked=process: answered(archived, asked), f"{name} was never handed over", 20)
        assert process.returncode == 0
        assert (archived.folder.parent / "RECOVERYXLOG").read_bytes().startswith(name.encode())


def answered(queue: WALQueue, process: subprocess.Popen[bytes]) -> bool:
    """Whether restore_command has ended, after the agent has had another look."""
    queue.answer_requests()
    return process.poll() is not None
