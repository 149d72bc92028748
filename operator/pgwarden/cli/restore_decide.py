"""`pgwarden restore proceed|cancel`: tells a restore to go on, or to stop, and waits until that is so."""

from __future__ import annotations

from pgwarden.api.conditions import READY, find, is_true
from pgwarden.cli.waiting import waited_for
from pgwarden.jobs.errors import TaskError
from pgwarden.kube.person import RESTORES, Person, as_person
from pgwarden.restores.inspecting import INSPECTING
from pgwarden.restores.plan import finished
from pgwarden.restores.resource import RestoreRequest

CANCELLED = "Cancelled"


def proceed(namespace: str | None, name: str, seconds: float) -> tuple[bool, str]:
    """Has a restore go on whose copy was looked at. As `proceeded`."""
    return as_person(namespace, lambda person: proceeded(person, name, seconds))


def cancel(namespace: str | None, name: str, seconds: float) -> tuple[bool, str]:
    """Ends a restore. As `cancelled`."""
    return as_person(namespace, lambda person: cancelled(person, name, seconds))


async def proceeded(person: Person, name: str, seconds: float) -> tuple[bool, str]:
    """Whether a restore goes on, and what it says then; one that is not there yet will not wait to be looked at.

    Raises TaskError: ObjectNotFound, NothingToDecide, StillRunning.
    """
    request = await unfinished(person, name)
    if request.spec.inspect is None:
        raise TaskError(
            "NothingToDecide",
            f"RestoreRequest {person.namespace}/{name} waits for nobody: it was made without spec.inspect",
            remedy=f"See where it stands: kubectl pgwarden restore show {name} --namespace {person.namespace}",
        )
    await person.client.merge(RESTORES, person.namespace, name, {"spec": {"proceed": True}})

    async def look() -> RestoreRequest | None:
        now = RestoreRequest.of(await person.get(RESTORES, name))
        return now if word(now)[0] != INSPECTING else None

    now = await waited_for(look, seconds, late(person, name, "go on", seconds), remedy(person, name))
    return is_true(now.status.conditions, READY) or not finished(now), f"{name}: {word(now)[1]}"


async def cancelled(person: Person, name: str, seconds: float) -> tuple[bool, str]:
    """Whether a restore has ended and what was is put back, and what it says then.

    Raises TaskError: ObjectNotFound, NothingToDecide, StillRunning.
    """
    await unfinished(person, name)
    await person.client.merge(RESTORES, person.namespace, name, {"spec": {"cancel": True}})

    async def look() -> RestoreRequest | None:
        now = RestoreRequest.of(await person.get(RESTORES, name))
        return now if finished(now) else None

    now = await waited_for(look, seconds, late(person, name, "be cancelled", seconds), remedy(person, name))
    reason, message = word(now)
    return reason == CANCELLED, f"{name}: {message}"


async def unfinished(person: Person, name: str) -> RestoreRequest:
    """A RestoreRequest about which there is something to decide. Raises TaskError: ObjectNotFound, NothingToDecide."""
    request = RestoreRequest.of(await person.get(RESTORES, name))
    if finished(request):
        raise TaskError(
            "NothingToDecide",
            f"RestoreRequest {person.namespace}/{name} has ended: {word(request)[1]}",
            remedy="Make a new RestoreRequest.",
        )
    return request


def word(request: RestoreRequest) -> tuple[str, str]:
    """Reason and message of the condition Ready."""
    found = find(request.status.conditions, READY)
    return (found.reason, found.message) if found is not None else ("", "the operator has not looked at it yet")


def late(person: Person, name: str, what: str, seconds: float) -> str:
    return f"RestoreRequest {person.namespace}/{name} is told to {what}, and has not after {seconds:.0f} s; that stands"


def remedy(person: Person, name: str) -> str:
    return f"Its steps say what it waits for: kubectl pgwarden restore show {name} --namespace {person.namespace}"
