"""Who wrote a record: an HMAC over its content, made with the store's catalogue key.

age encrypts to anybody's public key, so it does not say who wrote. The authentication is a field of the record itself:

    {..., "authentication": {"keyId": "<first 16 hex digits of SHA-256 of the key>", "hmacSha256": "<64 hex digits>"}}

It covers the record without that field as JSON of one form: members sorted by name, no blanks, ASCII only, as
`jq --compact-output --sort-keys --ascii-output 'del(.authentication)'` prints it, without the final newline. Unknown
fields of later versions are covered too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from enum import StrEnum
from typing import Any

from pgwarden.jobs.errors import TaskError

FIELD = "authentication"
KEY_ID_DIGITS = 16
PROOF_DIGITS = 16


class Authenticity(StrEnum):
    """What a record's authentication is worth."""

    AUTHENTIC = "Authentic"
    """Written by a holder of the key, and unchanged since."""
    UNKNOWN_KEY = "UnknownKey"
    """Not authenticated, or with another key than the given one: nothing can be said."""
    FORGED = "Forged"
    """It claims this key and does not fit, or is written so that readers may understand it differently."""


def key_id(key: bytes) -> str:
    """The name of a key, which tells nothing about it."""
    return hashlib.sha256(key).hexdigest()[:KEY_ID_DIGITS]


def sign(document: dict[str, Any], key: bytes) -> dict[str, str]:
    """The value of the field `authentication` for a record, given as the JSON that will be written."""
    return {"keyId": key_id(key), "hmacSha256": _hmac(document, key)}


def name_proof(name: str, key: bytes) -> str:
    """What shows, as a part of an object's name, that a holder of the key gave it that name: a listing alone tells then
    who wrote it. 16 hexadecimal digits of the HMAC over the rest of the path; no record can be taken for one."""
    return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:PROOF_DIGITS]


def proves_name(proof: str, name: str, key: bytes) -> bool:
    """Whether a holder of the key gave an object that name."""
    return hmac.compare_digest(proof.encode(), name_proof(name, key).encode())


def verify_record(content: bytes, key: bytes) -> Authenticity:
    """What the authentication of the record in `content` is worth to the holder of `key`. Never raises."""
    try:
        document = json.loads(content, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return Authenticity.FORGED
    claimed = document.get(FIELD) if isinstance(document, dict) else None
    if not isinstance(claimed, dict) or claimed.get("keyId") != key_id(key):
        return Authenticity.UNKNOWN_KEY
    told = str(claimed.get("hmacSha256", "")).encode()
    genuine = hmac.compare_digest(told, _hmac(document, key).encode())
    return Authenticity.AUTHENTIC if genuine else Authenticity.FORGED


def refuse_forged(content: bytes, name: str, key: bytes) -> Authenticity:
    """As `verify_record`, but raises TaskError with reason RecordForged where the record in `name` is forged."""
    verdict = verify_record(content, key)
    if verdict == Authenticity.FORGED:
        raise TaskError(
            "RecordForged",
            f"{name} was changed after it was written: its content does not fit its authentication",
            remedy="Do not restore from it. Look at who else writes into the store, and use another backup.",
        )
    return verdict


def _hmac(document: dict[str, Any], key: bytes) -> str:
    plain = {name: value for name, value in document.items() if name != FIELD}
    form = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(key, form.encode("ascii"), hashlib.sha256).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose members have different names: of two, another reader might believe the other one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found
