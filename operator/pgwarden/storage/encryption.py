"""age (age-encryption.org/v1): whoever writes needs only recipients, whoever reads needs an identity.

Both directions stream in bounded memory. age authenticates chunks of 64 KiB and the end of the file: an altered chunk
is never given out, a cut is noticed only at the end, after what came before it was given out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyrage

from pgwarden.jobs.errors import TaskError
from pgwarden.storage.pipes import ByteSink, ChunkReader, Source, chunks_written_by

NO_MATCH = "No matching keys found"


class DamagedCiphertext(Exception):
    """The bytes are not one whole age file."""


class NotForThisIdentity(Exception):
    """The age file was encrypted to other recipients."""


def parse_recipients(recipients: Sequence[str]) -> list[Any]:
    """age recipients (`age1...`, `ssh-ed25519 ...`, `ssh-rsa ...`). Raises TaskError with reason InvalidRecipient."""
    return [_parse_recipient(text.strip()) for text in recipients]


def _parse_recipient(text: str) -> Any:
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise TaskError(
            "InvalidRecipient",
            f"{text[:80]!r} is not an age recipient: {error}",
            remedy="A recipient is the public half that `age-keygen` prints (age1...), or an SSH public key.",
        ) from error


def read_identities(path: Path) -> list[Any]:
    """The identities in a file as age-keygen writes it, or an SSH private key. Its content is never repeated.

    Raises TaskError: IdentityMissing when there is no such file, InvalidIdentity when it holds no identity.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(
            "IdentityMissing",
            f"the age identity file {path} cannot be read ({type(error).__name__})",
            remedy=f"Check that the identity's Secret exists and has a key named {path.name}.",
        ) from error
    try:
        if "PRIVATE KEY-----" in text:
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        lines = [line.strip() for line in text.splitlines()]
        identities = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        identities = []  # the error's own text might repeat a part of the key
    if not identities:
        raise TaskError(
            "InvalidIdentity",
            f"the file {path} holds no age identity",
            remedy="It should hold what `age-keygen` wrote (a line AGE-SECRET-KEY-1...), or an SSH private key.",
        )
    return identities


def encrypt(chunks: Iterable[bytes], recipients: Sequence[Any]) -> Iterator[bytes]:
    """One age file around `chunks`, which are pulled from a thread of its own."""

    def run(sink: ByteSink) -> None:
        source = Source(chunks)
        try:
            pyrage.encrypt_io(ChunkReader(source), sink, list(recipients))
        finally:
            source.raise_own_error()

    return chunks_written_by(run)


def encrypt_whole(content: bytes, recipients: Sequence[Any]) -> bytes:
    """The age file around `content`, for what is in memory anyway.

    Where many threads are at work this is much quicker than `encrypt`, whose library asks for each 8 KiB by themselves:
    it waits for the interpreter's lock each time.
    """
    encrypted: bytes = pyrage.encrypt(content, list(recipients))
    return encrypted


def decrypt(chunks: Iterable[bytes], identities: Sequence[Any]) -> Iterator[bytes]:
    """The plain content of the age file in `chunks`, which are pulled from a thread of its own.

    Raises NotForThisIdentity, and DamagedCiphertext when a chunk was altered or the end is missing.
    """

    def run(sink: ByteSink) -> None:
        source = Source(chunks)
        try:
            pyrage.decrypt_io(ChunkReader(source), sink, list(identities))
        except (pyrage.DecryptError, OSError) as error:
            source.raise_own_error()
            if NO_MATCH in str(error):
                raise NotForThisIdentity from error
            raise DamagedCiphertext(f"age: {error}") from error

    return chunks_written_by(run)
