"""age both ways, in bounded memory; damage and wrong keys are told apart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwarden.jobs.errors import TaskError
from pgwarden.storage.encryption import (
    DamagedCiphertext,
    NotForThisIdentity,
    decrypt,
    encrypt,
    parse_recipients,
    read_identities,
)

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENTS = [IDENTITY.to_public()]


def encrypted(content: bytes) -> bytes:
    return b"".join(encrypt([content], RECIPIENTS))


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=3000), times=st.integers(1, 100), cut=st.integers(1, 70_000))
def test_round_trip_with_any_chunks(content: bytes, times: int, cut: int) -> None:
    content *= times
    plain = [content[start : start + cut] for start in range(0, len(content), cut)]
    stored = b"".join(encrypt(plain, RECIPIENTS))
    pieces = [stored[start : start + cut] for start in range(0, len(stored), cut)]
    assert b"".join(decrypt(pieces, [IDENTITY])) == content


@settings(max_examples=40, deadline=None)
@given(size=st.sampled_from([0, 1, 65_535, 65_536, 65_537, 200_000]), data=st.data())
def test_a_cut_anywhere_raises(size: int, data: st.DataObject) -> None:
    stored = encrypted(bytes(size))
    # age's header varies in length, so the place is drawn as a fraction.
    end = int(data.draw(st.floats(0, 1, exclude_max=True)) * len(stored))
    with pytest.raises(DamagedCiphertext):
        b"".join(decrypt([stored[:end]], [IDENTITY]))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_an_altered_byte_of_the_content_raises(data: st.DataObject) -> None:
    stored = bytearray(encrypted(bytes(100_000)))
    stored[-data.draw(st.integers(1, 100_000))] ^= 1
    with pytest.raises(DamagedCiphertext):
        b"".join(decrypt([bytes(stored)], [IDENTITY]))


def test_another_identity_is_told_from_damage() -> None:
    with pytest.raises(NotForThisIdentity):
        b"".join(decrypt([encrypted(b"secret")], [pyrage.x25519.Identity.generate()]))


@pytest.mark.parametrize("direction", ["encrypt", "decrypt"])
def test_an_exception_of_the_source_arrives_as_it_is(direction: str) -> None:
    def source() -> Iterator[bytes]:
        yield encrypted(b"secret")[:50]
        raise LookupError("the source broke")

    with pytest.raises(LookupError, match="the source broke"):
        b"".join(encrypt(source(), RECIPIENTS) if direction == "encrypt" else decrypt(source(), [IDENTITY]))


def test_the_age_program_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    content = os.urandom(200_000)
    key = tmp_path / "identity"
    key.write_text(f"# created by a test\n{IDENTITY}\n")
    done = subprocess.run(["age", "-d", "-i", key], input=encrypted(content), capture_output=True, check=True)
    assert done.stdout == content
    done = subprocess.run(["age", "-r", str(RECIPIENTS[0])], input=content, capture_output=True, check=True)
    assert b"".join(decrypt([done.stdout], read_identities(key))) == content


def test_ssh_keys_serve_as_recipients_and_identities(tmp_path: Path) -> None:
    key = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    recipients = parse_recipients([key.with_suffix(".pub").read_text()])
    stored = b"".join(encrypt([b"secret"], recipients))
    assert b"".join(decrypt([stored], read_identities(key))) == b"secret"


def test_what_is_no_recipient_is_named() -> None:
    with pytest.raises(TaskError) as caught:
        parse_recipients(["age1nonsense"])
    assert caught.value.reason == "InvalidRecipient"
    assert "age1nonsense" in caught.value.message


def test_a_missing_identity_file_and_one_without_identity_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(TaskError) as missing:
        read_identities(tmp_path / "identity")
    (tmp_path / "identity").write_text("AGE-SECRET-KEY-1BROKEN\n")
    with pytest.raises(TaskError) as invalid:
        read_identities(tmp_path / "identity")
    assert (missing.value.reason, invalid.value.reason) == ("IdentityMissing", "InvalidIdentity")
    assert "BROKEN" not in invalid.value.message + invalid.value.remedy
