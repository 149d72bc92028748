"""Digests that tell whether what is there was made from the same manifest. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

DIGEST_ANNOTATION = "pgwarden.dev/digest"

Manifest = dict[str, Any]


def digest(text: str) -> str:
    """The first 16 hexadecimal digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def annotated(manifests: Iterable[Manifest]) -> list[Manifest]:
    """The manifests, each with a digest of itself as its only annotation."""
    made = list(manifests)
    for manifest in made:
        manifest["metadata"]["annotations"] = {DIGEST_ANNOTATION: digest(repr(manifest))}
    return made


def digest_of(manifest: Manifest) -> str:
    """The digest that a manifest, or an object that was made from one, is annotated with; empty where it is not."""
    return str((manifest["metadata"].get("annotations") or {}).get(DIGEST_ANNOTATION, ""))
