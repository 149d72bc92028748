"""The catalogue's key of a BackupStore: what an agent that writes backups needs to read of the earlier ones.

Who writes backups cannot read their rows. But an incremental backup needs its parent's manifest, and a record has to
say who wrote it. So each store has a Secret with two keys: `identity`, an age identity that the manifests, and nothing
else, are encrypted to as well, and `hmac`, the 32 bytes in base64 that records are authenticated with.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage

from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import StoreLocation
from pgwarden.storage.encryption import read_identities

IDENTITY_KEY = "identity"
HMAC_KEY = "hmac"
HMAC_BYTES = 32


@dataclass(frozen=True, repr=False)
class CatalogueKey:
    """The key, ready for use; never printed."""

    identities: list[Any]
    """What manifests are decrypted with."""
    recipient: str
    """age recipient that manifests are encrypted to."""
    hmac: bytes


def read_catalogue_key(folder: Path) -> CatalogueKey:
    """The key whose two files lie in `folder`.

    Raises TaskError: IdentityMissing, InvalidIdentity, CatalogueKeyInvalid.
    """
    identities = read_identities(folder / IDENTITY_KEY)
    try:
        key = base64.b64decode((folder / HMAC_KEY).read_bytes(), validate=False)
    except (OSError, binascii.Error) as error:
        raise _invalid(folder, type(error).__name__) from error
    if len(key) != HMAC_BYTES:
        raise _invalid(folder, f"it has {len(key)} bytes in place of {HMAC_BYTES}")
    if len(identities) != 1 or not isinstance(identities[0], pyrage.x25519.Identity):
        raise _invalid(folder, "its identity is not one X25519 identity")
    return CatalogueKey(identities, str(identities[0].to_public()), key)


def catalogue_key_of(location: StoreLocation) -> CatalogueKey | None:
    """The key of the store at `location`; None where the task was given none. Raises as `read_catalogue_key`."""
    return None if location.catalogue_key is None else read_catalogue_key(Path(location.catalogue_key))


def new_catalogue_key() -> dict[str, str]:
    """A new key as the data of a Secret."""
    return {
        IDENTITY_KEY: f"{pyrage.x25519.Identity.generate()}\n",
        HMAC_KEY: base64.b64encode(secrets.token_bytes(HMAC_BYTES)).decode(),
    }


def _invalid(folder: Path, trouble: str) -> TaskError:
    return TaskError(
        "CatalogueKeyInvalid",
        f"the catalogue's key in {folder} cannot be used: {trouble}",
        remedy="Put back the Secret <store>-catalogue-key from a copy. Without one, delete it: pgwarden makes a new "
        "key, and a new full backup has to be taken before the next incremental.",
    )
