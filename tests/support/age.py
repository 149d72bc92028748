"""Keys that age-keygen makes."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AgeKey:
    """A recipient, and the file of the identity that opens what is encrypted to it."""

    recipient: str
    identity: Path


def new_age_key(folder: Path) -> AgeKey:
    """A new key; its file is `identity` in the folder."""
    identity = folder / "identity"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    done = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
    return AgeKey(done.stdout.strip(), identity)
