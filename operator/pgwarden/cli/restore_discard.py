"""`pgwarden restore discard-old`: sets the wish and waits for the operator's answer to it."""

from __future__ import annotations

from pgwarden.api.conditions import Condition, Truth, find
from pgwarden.cli.waiting import answer, waited_for
from pgwarden.jobs.errors import TaskError
from pgwarden.kube.person import RESTORES, Person, as_person
from pgwarden.restores.in_place import OLD_DATA_DISCARDED
from pgwarden.restores.resource import RestoreRequest


def discard(namespace: str | None, name: str, seconds: float) -> tuple[bool, str]:
    """Has the old data deleted that a restore in place has kept. As `discarded`."""
    return as_person(namespace, lambda person: discarded(person, name, seconds))


async def discarded(person: Person, name: str, seconds: float) -> tuple[bool, str]:
    """Whether the old data of a RestoreRequest are gone, and what was said; asks for it where nobody has.

    Raises TaskError: ObjectNotFound, NothingKept, StillRunning.
    """
    request = RestoreRequest.of(await person.get(RESTORES, name))
    place = request.status.in_place
    said = find(request.status.conditions, OLD_DATA_DISCARDED)
    if said is not None and said.status == Truth.TRUE:
        return True, f"{name}: {said.message}"
    if place is None or not place.old_data:
        raise TaskError(
            "NothingKept",
            f"RestoreRequest {person.namespace}/{name} keeps no old data: it is not a finished restore in place",
            remedy=f"See where it stands: kubectl describe restorerequest {name} --namespace {person.namespace}",
        )
    if not request.spec.discard_old:
        await person.client.merge(RESTORES, person.namespace, name, {"spec": {"discardOld": True}})
    return await answered(person, name, seconds)


async def answered(person: Person, name: str, seconds: float) -> tuple[bool, str]:
    """Whether the old data are gone, once the operator has said. Raises TaskError with reason StillRunning."""

    async def look() -> Condition | None:
        return answer(RestoreRequest.of(await person.get(RESTORES, name)).status.conditions, OLD_DATA_DISCARDED)

    said = await waited_for(
        look,
        seconds,
        f"the old data of RestoreRequest {person.namespace}/{name} have not been deleted after {seconds:.0f} s; the"
        " wish stands",
        f"Its condition {OLD_DATA_DISCARDED} says what it waits for: kubectl describe restorerequest {name}"
        f" --namespace {person.namespace}",
    )
    return said.status == Truth.TRUE, f"{name}: {said.message}"
