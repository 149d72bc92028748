"""Keys of a bucket that cannot stand in a request are refused before any client is asked, and never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgwarden.jobs.errors import TaskError
from pgwarden.storage.secrets import read_credential


@pytest.mark.parametrize("content", ["key", "key\n", "key\r\n", " key \n"])
def test_white_space_around_a_key_is_no_part_of_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_bytes(content.encode())
    assert read_credential(tmp_path / "key") == "key"


@pytest.mark.parametrize("inside", ["\r", "\n", "\r\n", "\0", "\x1b", "\x7f", "é"])
def test_a_control_character_inside_is_refused_with_the_keys_name(tmp_path: Path, inside: str) -> None:
    (tmp_path / "secret_access_key").write_bytes(f"hunter{inside}2".encode())
    with pytest.raises(TaskError) as caught:
        read_credential(tmp_path / "secret_access_key")
    assert caught.value.reason == "CredentialsMalformed"
    assert "secret_access_key" in caught.value.remedy
    assert "hunter" not in f"{caught.value.message} {caught.value.remedy}"
