"""Tar archives: whole ones are unpacked whatever the pieces, hostile and cut ones are refused."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.jobs.errors import TaskError
from pgwarden.restores.unpack import Unpacker

CONTENTS = {"PG_VERSION": b"18\n", "base/5/1259": os.urandom(70_000), "base/5/empty": b"", "global/exact": b"x" * 1024}


def archive(*members: tarfile.TarInfo, contents: dict[str, bytes] | None = None) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in (CONTENTS if contents is None else contents).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o666
            tar.addfile(member, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return target.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


def unpack(data: bytes, folder: Path, piece: int = 1 << 20) -> Unpacker:
    unpacker = Unpacker("base.tar", lambda name, _is_folder: folder / name)
    try:
        for start in range(0, len(data), piece):
            unpacker.feed(data[start : start + piece])
        unpacker.finish()
    finally:
        unpacker.close()
    return unpacker


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@settings(deadline=None)
@given(piece=st.integers(min_value=1, max_value=3000))
def test_an_archive_is_unpacked_alike_however_it_is_cut(tmp_path_factory: pytest.TempPathFactory, piece: int) -> None:
    folder = tmp_path_factory.mktemp("unpacked")
    assert unpack(archive(), folder, piece).files == len(CONTENTS)
    assert contents_of(folder) == CONTENTS


def test_files_and_folders_are_closed_to_others_whatever_the_archive_says(tmp_path: Path) -> None:
    unpack(archive(member("pg_wal", tarfile.DIRTYPE)), tmp_path)
    assert (tmp_path / "PG_VERSION").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "pg_wal").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "hostile",
    [
        member("../outside"),
        member("base/../../outside"),
        member("/etc/cron.d/outside"),
        member("base/link", tarfile.SYMTYPE, "/etc"),
        member("base/link", tarfile.LNKTYPE, "PG_VERSION"),
        member("base/device", tarfile.CHRTYPE),
        member("base/fifo", tarfile.FIFOTYPE),
        member("PG_VERSION"),
        member("PG_VERSION/beneath"),
    ],
    ids=lambda info: f"{info.name}-{info.type!r}",
)
def test_a_member_that_reaches_outside_or_overwrites_is_refused(tmp_path: Path, hostile: tarfile.TarInfo) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    with pytest.raises(TaskError) as refused:
        unpack(archive(hostile), folder)
    assert refused.value.reason == "HostileArchive"
    assert "base.tar" in refused.value.message
    assert sorted(contents_of(tmp_path)) == sorted(f"inside/{name}" for name in CONTENTS)


@settings(deadline=None)
@given(cut=st.integers(min_value=1, max_value=len(archive()) - 1))
def test_an_archive_that_ends_within_a_member_is_told_apart_from_a_whole_one(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    try:
        unpack(archive()[:cut], folder)
    except TaskError as error:
        assert error.reason == "ObjectDamaged"
    else:
        whole = contents_of(folder)
        assert all(CONTENTS[name] == content for name, content in whole.items())


@pytest.mark.parametrize("position", [0, 100, 124, 148, 257])
def test_an_altered_header_is_noticed(tmp_path: Path, position: int) -> None:
    data = bytearray(archive())
    data[position] ^= 0x15
    with pytest.raises(TaskError) as refused:
        unpack(bytes(data), tmp_path)
    assert refused.value.reason in ("ObjectDamaged", "HostileArchive")


def test_something_behind_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError) as refused:
        unpack(archive(contents={"a": b"1"}) + archive(contents={"b": b"2"}), tmp_path)
    assert "after its end" in refused.value.message


def test_sizes_from_8_gib_on_are_read_as_postgresql_writes_them(tmp_path: Path) -> None:
    """Base 256: the first bit of the field set. The header alone, so that no 9 GB are needed."""
    info = tarfile.TarInfo("big")
    info.size = 9 << 30
    unpacker = Unpacker("base.tar", lambda name, _is_folder: tmp_path / name)
    unpacker.feed(header(info))
    with pytest.raises(TaskError) as cut:
        unpacker.finish()
    assert "in the middle of a member" in cut.value.message


def header(info: tarfile.TarInfo) -> bytes:
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def test_what_the_placer_drops_is_read_past(tmp_path: Path) -> None:
    def only_base(name: PurePosixPath, _is_folder: bool) -> Path | None:
        return tmp_path / name if name.parts[0] == "base" else None

    unpacker = Unpacker("base.tar", only_base)
    unpacker.feed(archive())
    unpacker.finish()
    assert sorted(contents_of(tmp_path)) == ["base/5/1259", "base/5/empty"]
