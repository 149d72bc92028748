"""A record that was changed after it was written is found out; whose key it was not is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgwarden.jobs.errors import TaskError
from pgwarden.storage.authenticity import FIELD, Authenticity, refuse_forged, sign, verify_record
from pgwarden.storage.catalogue_key import HMAC_BYTES, new_catalogue_key, read_catalogue_key

KEY, OTHER = b"k" * 32, b"o" * 32
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text(min_size=1, max_size=5).filter(lambda name: name != FIELD), values, max_size=4)


def written(document: dict[str, Any], key: bytes = KEY) -> bytes:
    return json.dumps(document | {FIELD: sign(document, key)}, indent=2).encode()


@given(documents)
def test_what_was_signed_is_authentic_however_it_is_laid_out(document: dict[str, Any]) -> None:
    content = written(document)
    assert verify_record(content, KEY) == Authenticity.AUTHENTIC
    assert verify_record(json.dumps(json.loads(content), sort_keys=True).encode(), KEY) == Authenticity.AUTHENTIC
    assert verify_record(content, OTHER) == Authenticity.UNKNOWN_KEY


@given(documents, st.text(min_size=1, max_size=5).filter(lambda name: name != FIELD), values)
def test_any_change_is_found_out(document: dict[str, Any], name: str, value: Any) -> None:
    changed = document | {name: value}
    if json.dumps(changed, sort_keys=True) == json.dumps(document, sort_keys=True):
        return
    content = json.dumps(changed | {FIELD: sign(document, KEY)}).encode()
    assert verify_record(content, KEY) == Authenticity.FORGED
    with pytest.raises(TaskError) as caught:
        refuse_forged(content, "x/backup.json", KEY)
    assert (caught.value.reason, "x/backup.json" in caught.value.message) == ("RecordForged", True)


def test_a_name_that_stands_twice_is_not_believed() -> None:
    content = written({"backupId": "a"}).replace(b'"backupId": "a"', b'"backupId": "b", "backupId": "a"')
    assert verify_record(content, KEY) == Authenticity.FORGED


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_not_believed(content: bytes) -> None:
    assert verify_record(content, KEY) == Authenticity.FORGED


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"authentication": null}', b'{"authentication": {"keyId": "x"}}'])
def test_of_what_nobody_signed_nothing_is_said(content: bytes) -> None:
    assert refuse_forged(content, "x", KEY) == Authenticity.UNKNOWN_KEY


def test_a_new_key_is_read_back_and_no_two_are_alike(tmp_path: Path) -> None:
    made = [new_catalogue_key(), new_catalogue_key()]
    keys = []
    for number, data in enumerate(made):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, value in data.items():
            (folder / name).write_text(value)
        keys.append(read_catalogue_key(folder))
    assert [len(key.hmac) for key in keys] == [HMAC_BYTES, HMAC_BYTES]
    assert keys[0].hmac != keys[1].hmac
    assert keys[0].recipient != keys[1].recipient
    assert keys[0].recipient.startswith("age1")


@pytest.mark.parametrize("content", ["", "c2hvcnQ=", "not base64"])
def test_a_spoiled_key_is_named_and_not_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "identity").write_text(new_catalogue_key()["identity"])
    (tmp_path / "hmac").write_text(content)
    with pytest.raises(TaskError) as caught:
        read_catalogue_key(tmp_path)
    assert caught.value.reason == "CatalogueKeyInvalid"
    assert str(tmp_path) in caught.value.message
