"""A backup's manifest is read line by line, and files are compared with it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pgwarden.jobs.agent import AgentContext, Stopped
from pgwarden.jobs.task import ObjectRef, Operation, Task
from pgwarden.restores.manifest import ManifestFile, UnknownManifest, differing, files_in

FILES = {"PG_VERSION": b"17\n", "base/5/1259": bytes(300_000), "base/5/INCREMENTAL.16384": b"", "with, comma],": b"x"}


def line(name: str, content: bytes, **changes: str) -> str:
    """As PostgreSQL writes it."""
    told = {
        "Path": name,
        "Size": len(content),
        "Last-Modified": "2026-11-23 12:00:00 GMT",
        "Checksum-Algorithm": "SHA256",
        "Checksum": hashlib.sha256(content).hexdigest(),
    }
    return json.dumps(told | changes)


def manifest(*lines: str, end: str = "],") -> list[str]:
    head = ['{ "PostgreSQL-Backup-Manifest-Version": 2,', '"System-Identifier": 7000,', '"Files": [']
    tail = ['"WAL-Ranges": [', '{ "Timeline": 1 }', "],", '"Manifest-Checksum": "00"}']
    return [f"{text}\n" for text in (*head, *",\n".join(lines).splitlines(), end, *tail)]


@pytest.fixture
def context() -> AgentContext:
    request = ObjectRef(kind="RestoreRequest", namespace="shop", name="restore", uid="1")
    task = Task(operation=Operation.RESTORE, nonce="0123456789abcdef", object=request, payload={})
    return AgentContext(task, output=io.StringIO())


def laid_out(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, Path]:
    """The manifest of FILES, and a data directory with other contents."""
    data = folder / "data"
    for name, content in files.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    told = folder / "backup_manifest"
    told.write_text("".join(manifest(*(line(name, content) for name, content in FILES.items()))))
    return told, data


@pytest.mark.parametrize("parallel", [1, 3])
def test_files_as_the_manifest_says_do_not_differ(tmp_path: Path, context: AgentContext, parallel: int) -> None:
    told, data = laid_out(tmp_path, FILES)
    assert differing(told, data, parallel, context) == []


def test_what_pg_verifybackup_leaves_out_may_be_gone(tmp_path: Path, context: AgentContext) -> None:
    told, data = laid_out(tmp_path, FILES)
    gone = [line(f"pg_wal/{name}", b"x") for name in ("archive_status/1.done", "2")]
    told.write_text("".join(manifest(*gone, line("postgresql.auto.conf", b"x"), line("PG_VERSION", b"17\n"))))
    assert differing(told, data, 1, context) == []


@pytest.mark.parametrize("name", FILES)
def test_one_byte_more_or_another_one_is_found(tmp_path: Path, context: AgentContext, name: str) -> None:
    for number, content in enumerate((FILES[name] + b"x", b"y" + FILES[name][1:])):
        told, data = laid_out(tmp_path / str(number), FILES | {name: content})
        assert differing(told, data, 2, context) == [Path(name)]


def test_a_name_in_another_encoding_stands_there_in_hex() -> None:
    encoded = line("", b"x").replace('"Path": ""', '"Encoded-Path": "62ff"')
    assert list(files_in(manifest(encoded))) == [ManifestFile(Path("b\udcff"), hashlib.sha256(b"x").hexdigest())]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        manifest(line("a", b""))[:-5],
        manifest(line("a", b"", **{"Checksum-Algorithm": "CRC32C"})),
        manifest(line("a", b"").replace('"Checksum":', '"Other":')),
        manifest("{"),
        manifest("3"),
        ["".join(manifest(line("a", b""))).replace("\n", " ")],
    ],
    ids=["empty", "cut", "another algorithm", "no checksum", "no object", "a number", "all on one line"],
)
def test_a_manifest_of_another_form_is_told(lines: list[str]) -> None:
    with pytest.raises(UnknownManifest):
        list(files_in(lines))


def test_it_ends_when_it_is_told_to(tmp_path: Path, context: AgentContext) -> None:
    told, data = laid_out(tmp_path, FILES)
    context.stop.set()
    with pytest.raises(Stopped):
        differing(told, data, 2, context)
