"""Whether a claim may be a store: one that holds a database must never be one. Pure.

People look into a store with a pod of their own, and copy it elsewhere with a Job: those are no sign of a database.
What a StatefulSet or another controller keeps running on a claim is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pgwarden.jobs.names import MANAGED_BY, MANAGED_BY_LABEL, STORE_CLAIM_LABEL, label_value

SHARED = "pgwarden.dev/shared-with-store"
"""Annotation of a claim whose owner allows a store beside whatever else writes there: "true"."""
NUMBERED = re.compile(r"(?P<head>.+)-(?P<ordinal>[0-9]+)")


def is_shared(claim: dict[str, Any]) -> bool:
    """Whether the owner of a claim allows a store there, whoever else mounts it."""
    return bool((claim["metadata"].get("annotations") or {}).get(SHARED) == "true")


def kept_by(claim: str, pods: Iterable[dict[str, Any]]) -> str:
    """Name of a pod that a controller keeps running with the claim mounted writable; empty when there is none."""
    for pod in pods:
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed") or is_ours(pod, claim) or not is_kept(pod):
            continue
        volumes = pod.get("spec", {}).get("volumes") or []
        sources = [volume.get("persistentVolumeClaim") or {} for volume in volumes]
        if any(source.get("claimName") == claim and not source.get("readOnly") for source in sources):
            return str(pod["metadata"]["name"])
    return ""


def is_kept(pod: dict[str, Any]) -> bool:
    """Whether something makes the pod again when it ends."""
    owners = pod["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") and owner.get("kind") != "Job" for owner in owners)


def is_ours(pod: dict[str, Any], claim: str) -> bool:
    """Whether a pod is one of ours that works with the claim as a store."""
    labels = pod["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY_LABEL) == MANAGED_BY and labels.get(STORE_CLAIM_LABEL) == label_value(claim)


def possible_owners(claim: str) -> list[tuple[str, str]]:
    """Names of volumeClaimTemplate and StatefulSet that a claim may have been made for.

    Kubernetes calls such claims `<template>-<StatefulSet>-<ordinal>`, and either name may hold hyphens.
    """
    match = NUMBERED.fullmatch(claim)
    if match is None:
        return []
    words = match["head"].split("-")
    return [("-".join(words[:cut]), "-".join(words[cut:])) for cut in range(1, len(words))]


def has_template(stateful_set: dict[str, Any], template: str) -> bool:
    """Whether a StatefulSet makes claims of that template."""
    templates = stateful_set.get("spec", {}).get("volumeClaimTemplates") or []
    return any(each["metadata"]["name"] == template for each in templates)
