"""Whether Secrets, ConfigMaps and keys that a pod is to mount are there: read by name, never watched."""

from __future__ import annotations

import asyncio
import base64

from pgwarden.api.references import Wanted
from pgwarden.kube.client import KubeClient
from pgwarden.kube.types import CONFIG_MAPS, SECRETS


async def missing(client: KubeClient, namespace: str, wanted: list[Wanted]) -> list[str]:
    """A sentence for each object or key that is not there, or empty."""
    sentences = []
    types = [SECRETS if each.kind == "Secret" else CONFIG_MAPS for each in wanted]
    # At once: work that is due waits for these answers.
    found = [client.get(type_, namespace, each.name) for type_, each in zip(types, wanted, strict=True)]
    for each, body in zip(wanted, await asyncio.gather(*found), strict=True):
        where = f"{each.kind} {namespace}/{each.name} ({each.purpose})"
        if body is None:
            sentences.append(f"{where} does not exist; create it with the keys {', '.join(each.keys)}")
            continue
        data = {**(body.get("data") or {}), **(body.get("binaryData") or {})}
        for key in each.keys:
            if key not in data:
                sentences.append(
                    f"{where} has no key {key}; it has {', '.join(sorted(data)) or 'none'}. Add the key or name another"
                )
            elif not data[key]:
                sentences.append(f"key {key} of {where} is empty; give it its value")
    return sentences


async def config_map_files(client: KubeClient, namespace: str, name: str) -> dict[str, bytes] | None:
    """The files a ConfigMap holds, by key; None when it does not exist."""
    body = await client.get(CONFIG_MAPS, namespace, name)
    if body is None:
        return None
    files = {key: value.encode() for key, value in (body.get("data") or {}).items()}
    files.update({key: base64.b64decode(value) for key, value in (body.get("binaryData") or {}).items()})
    return files
