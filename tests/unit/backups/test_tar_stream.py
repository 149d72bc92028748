"""The follower sees what tarfile sees, however the bytes are cut."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.backups.tar_stream import BLOCK_BYTES, DamagedTar, Member, TarFollower

names = st.lists(st.from_regex(r"[a-z][a-z0-9_./]{0,60}[a-z]", fullmatch=True), max_size=8, unique=True)
sizes = st.integers(0, 3000)


def archive(files: list[tuple[str, int]]) -> bytes:
    """A tar as the server writes it: ustar headers, and two blocks of zeros at the end."""
    content = b""
    for name, size in files:
        info = tarfile.TarInfo(name)
        info.size = size
        content += info.tobuf(tarfile.USTAR_FORMAT) + b"x" * size + bytes(-size % BLOCK_BYTES)
    return content + bytes(2 * BLOCK_BYTES)


def follow(content: bytes, cut: int) -> tuple[list[Member], bytes]:
    follower = TarFollower()
    members, passed = [], b""
    for start in range(0, len(content), cut):
        for member, piece in follower.follow(memoryview(content[start : start + cut])):
            passed += piece
            if member is not None:
                assert len(piece) == BLOCK_BYTES
                members.append(member)
    follower.finish()
    return members, passed


@given(names=names, data=st.data(), cut=st.integers(1, 2000))
def test_members_are_those_of_tarfile_and_every_byte_passes(names: list[str], data: st.DataObject, cut: int) -> None:
    files = [(name, data.draw(sizes)) for name in names]
    content = archive(files)
    members, passed = follow(content, cut)
    assert passed == content
    with tarfile.open(fileobj=io.BytesIO(content)) as expected:
        assert [(member.name, member.size) for member in members] == [(m.name, m.size) for m in expected]


def test_sizes_above_8_gib_are_read() -> None:
    info = tarfile.TarInfo("large")
    info.size = 9 << 30
    follower = TarFollower()
    [(member, _)] = follower.follow(memoryview(info.tobuf(tarfile.GNU_FORMAT)))
    assert member is not None and member.size == 9 << 30
    assert follower.skip(9 << 30)
    assert not follower.skip(1)


@given(cut=st.integers(0, 3000), size=sizes)
def test_an_archive_that_ends_early_is_damaged(cut: int, size: int) -> None:
    content = archive([("a", size)])
    with pytest.raises(DamagedTar):
        follow(content[: max(0, len(content) - 1 - cut)], 700)


def test_a_damaged_header_and_what_follows_the_end_are_refused() -> None:
    content = bytearray(archive([("a", 100)]))
    content[3] ^= 1
    with pytest.raises(DamagedTar, match="header"):
        follow(bytes(content), 512)
    with pytest.raises(DamagedTar, match="follows"):
        follow(archive([("a", 1)]) + archive([("b", 1)]), 512)
