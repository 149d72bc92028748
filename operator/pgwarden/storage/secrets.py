"""Secrets and certificates from files."""

from __future__ import annotations

from pathlib import Path

from pgwarden.jobs.errors import TaskError


def read_credential(path: Path) -> str:
    """The content of a credentials file without its final newline. Raises TaskError with reason CredentialsMissing."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _missing(path, f"cannot be read ({type(error).__name__})") from error
    if not text:
        raise _missing(path, "is empty")
    return text


def _missing(path: Path, trouble: str) -> TaskError:
    return TaskError(
        "CredentialsMissing",
        f"the credentials file {path} {trouble}",
        remedy=f"Check that the BackupStore's Secret exists and has a key named {path.name}.",
        retryable=True,
    )
