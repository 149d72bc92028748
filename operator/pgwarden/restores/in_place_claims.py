"""What the claims and pods of a server tell a restore in place, and how the claims are marked. Pure.

The mark says who works on the data. Of several members it also says which one is the primary, before a Job comes near
the data: nobody may have to find that out on claims that are half done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pgwarden.restores.claim_note import NOTE
from pgwarden.restores.fence import claims_of_pod
from pgwarden.restores.resource import InPlaceStatus

Body = dict[str, Any]

MARK = "pgwarden.dev/restoring"
"""Annotation of a claim: UID of the RestoreRequest that works on it."""
PRIMARY = "pgwarden.dev/restoring-primary"
"""Annotation of the claim of the primary of several members: the same UID."""


def annotation(claim: Body, name: str) -> str:
    """An annotation of a claim; empty when it has none of that name."""
    return str((claim["metadata"].get("annotations") or {}).get(name, ""))


def marked_by(claims: Collection[Body], uid: str = "") -> str:
    """UID of the RestoreRequest that works on the claims: this one's where any of them says so, another one's where
    any says that; empty when none does."""
    found = {annotation(each, MARK) for each in claims} - {""}
    return uid if uid in found else min(found, default="")


def marked_primary(claims: Mapping[str, Body], uid: str) -> str:
    """The claim that is marked as the primary's by this RestoreRequest; empty when none is."""
    return next((name for name, each in claims.items() if annotation(each, PRIMARY) == uid), "")


def marks(claims: Mapping[str, Body], place: InPlaceStatus, uid: str, what: str) -> Iterator[tuple[str, Body]]:
    """The patches, by the claim's name, that mark the claims of all members, the primary's first, and note `what`
    works there; each on the version that was looked at."""
    for name in sorted(claims_at(place), key=lambda name: name != place.claim):
        wanted = {MARK: uid} | ({PRIMARY: uid} if place.members and name == place.claim else {})
        if name in claims and any(annotation(claims[name], key) != uid for key in wanted):
            yield name, annotated(claims[name], wanted | {NOTE: what})


def unmarks(claims: Mapping[str, Body], uid: str) -> Iterator[tuple[str, Body]]:
    """The patches that take every mark of a RestoreRequest away, the primary's last."""
    mine = [name for name, each in claims.items() if annotation(each, MARK) == uid]
    for name in sorted(mine, key=lambda name: annotation(claims[name], PRIMARY) == uid):
        yield name, annotated(claims[name], {MARK: None, PRIMARY: None, NOTE: None})


def annotated(claim: Body, annotations: Mapping[str, str | None]) -> Body:
    return {
        "metadata": {"resourceVersion": claim["metadata"]["resourceVersion"], "annotations": dict(annotations)},
    }


def claims_at(place: InPlaceStatus) -> list[str]:
    """The claims with data of the server."""
    return list(place.members) or ([place.claim] if place.claim else [])


def nodes_of(pods: Sequence[Body], claims: Collection[str]) -> dict[str, str]:
    """On which node a pod mounts a claim now, by the claim."""
    return {
        claim: str(pod["spec"]["nodeName"])
        for pod in pods
        if pod["spec"].get("nodeName")
        for claim in claims_of_pod(pod) & set(claims)
    }


def access_modes(claim: Body) -> list[str]:
    return list((claim.get("spec") or {}).get("accessModes") or [])


def readiness(workload: Body | None, pods: Sequence[Body]) -> tuple[bool, str]:
    """Whether a server of one member answers, and what its pod says while it does not."""
    status = (workload or {}).get("status") or {}
    if (status.get("readyReplicas") or 0) >= 1 and up_to_date(workload):
        return True, ""
    return False, complaint(pods) if pods else "it has no pod yet"


def members_ready(workload: Body | None, pods: Sequence[Body], place: InPlaceStatus) -> tuple[bool, str, str]:
    """Whether the primary of several members answers, what its pod says while it does not, and the same of every
    standby that is not ready; empty once all are."""
    mounting = {claim: [pod for pod in pods if claim in claims_of_pod(pod)] for claim in place.members}
    waiting = {
        claim: complaint(found) if found else "it has no pod yet"
        for claim, found in mounting.items()
        if not any(is_ready(pod) for pod in found)
    }
    problem = waiting.pop(place.claim, None)
    behind = "; ".join(f"the standby on claim {claim} is not ready{said(why)}" for claim, why in waiting.items())
    return problem is None and up_to_date(workload), problem or "", behind


def up_to_date(workload: Body | None) -> bool:
    """Whether what a workload's status says is about its spec as it is now."""
    body = workload or {}
    generation = (body.get("metadata") or {}).get("generation", 0)
    return bool((body.get("status") or {}).get("observedGeneration", 0) >= generation)


def is_ready(pod: Body) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def complaint(pods: Sequence[Body]) -> str:
    """What keeps a container of the pods from running; empty when they say nothing."""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason"):
                found = f"container {container['name']} of pod {pod['metadata']['name']}: {waiting['reason']}"
                return f"{found}: {waiting['message']}" if waiting.get("message") else found
    return ""


def said(why: str) -> str:
    return f": {why}" if why else ""
