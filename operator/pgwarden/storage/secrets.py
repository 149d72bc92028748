"""Secrets and certificates from files."""

from __future__ import annotations

from pathlib import Path

from pgwarden.jobs.errors import TaskError


def read_credential(path: Path) -> str:
    """The content of a credentials file without the white space around it.

    Raises TaskError: CredentialsMissing, CredentialsMalformed.
    """
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _missing(path, f"cannot be read ({type(error).__name__})") from error
    if not text:
        raise _missing(path, "is empty")
    # The client library for buckets ends with a panic over these, as they cannot stand in an HTTP header.
    if not text.isascii() or not text.isprintable():
        raise TaskError(
            "CredentialsMalformed",
            f"the credentials file {path} holds a line break, a control character or one beyond ASCII",
            remedy=f"Write key {path.name} of the BackupStore's Secret anew, without them (mind files from Windows).",
            retryable=True,
        )
    return text


def _missing(path: Path, trouble: str) -> TaskError:
    return TaskError(
        "CredentialsMissing",
        f"the credentials file {path} {trouble}",
        remedy=f"Check that the BackupStore's Secret exists and has a key named {path.name}.",
        retryable=True,
    )
