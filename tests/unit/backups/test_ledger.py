"""A file that arrived shorter than it was read, or not at all, never gets into a committed backup."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.backups.ledger import Ledger
from pgwarden.jobs.errors import TaskError

files = st.dictionaries(
    st.from_regex(r"base/[0-9]{1,5}/[0-9]{1,6}", fullmatch=True), st.integers(0, 1 << 30), min_size=1
)


def manifest(listed: dict[str, int], encoded: bytes | None = None) -> bytes:
    """As PostgreSQL writes it: one file on each line, and the SHA-256 of all but the last line at the end."""
    lines = [f'{{ "Path": {json.dumps(path)}, "Size": {size}, "Checksum": "00" }}' for path, size in listed.items()]
    if encoded is not None:
        lines.append(f'{{ "Encoded-Path": "{encoded.hex()}", "Size": 7, "Checksum": "00" }}')
    text = '{ "PostgreSQL-Backup-Manifest-Version": 2,\n"Files": [\n' + ",\n".join(lines) + "\n],\n"
    text += '"WAL-Ranges": [\n{ "Timeline": 1, "Start-LSN": "0/2", "End-LSN": "0/3" }\n],\n'
    return text.encode() + f'"Manifest-Checksum": "{hashlib.sha256(text.encode()).hexdigest()}"}}\n'.encode()


def compare(seen: dict[str, int], content: bytes, cut: int = 100) -> Ledger:
    ledger = Ledger()
    for path, size in seen.items():
        ledger.saw(path, size)
    for start in range(0, len(content), cut):
        ledger.read_manifest(memoryview(content)[start : start + cut])
    ledger.finish()
    return ledger


@given(listed=files, cut=st.integers(1, 500))
def test_what_fits_passes_however_it_is_cut(listed: dict[str, int], cut: int) -> None:
    segments = {"pg_wal/00000001000000000000000A": 16 << 20}
    assert compare(listed | segments, manifest(listed), cut).listed_files == len(listed)


@given(listed=files, data=st.data())
def test_a_file_of_another_size_is_named(listed: dict[str, int], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(listed)))
    with pytest.raises(TaskError) as caught:
        compare(listed | {path: listed[path] + 8192}, manifest(listed))
    assert caught.value.reason == "BackupIncomplete"
    assert path in caught.value.message


@given(listed=files, data=st.data())
def test_missing_and_superfluous_files_are_noticed(listed: dict[str, int], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(listed)))
    without = {name: size for name, size in listed.items() if name != path}
    for seen, told in ((without, listed), (listed, without)):
        with pytest.raises(TaskError, match="archive"):
            compare(seen, manifest(told))


@given(listed=files, data=st.data())
def test_a_cut_manifest_is_noticed(listed: dict[str, int], data: st.DataObject) -> None:
    content = manifest(listed)
    with pytest.raises(TaskError):
        compare(listed, content[: data.draw(st.integers(0, content.rindex(b'"Manifest-Checksum"') + 20))])


def test_a_name_that_is_not_utf_8_is_compared_too() -> None:
    name = b"pg_tblspc/1/\xff\xfe"
    seen = {"a": 1, name.decode("utf-8", "surrogateescape"): 7}
    assert compare(seen, manifest({"a": 1}, encoded=name)).listed_files == 2
