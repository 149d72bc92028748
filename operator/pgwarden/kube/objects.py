"""Bodies of objects as the models that describe them; one that does not fit is told in words people understand."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from pgwarden.api.model import Resource
from pgwarden.kube.cache import Body
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.key import Key

ResourceModel = TypeVar("ResourceModel", bound=Resource)
SHOWN_ERRORS = 5


class UnreadableObject(Exception):
    """An object says something this version of pgwarden does not know; the API server has accepted it."""


def read(model: type[ResourceModel], body: Body) -> ResourceModel:
    """The object in a body. Raises UnreadableObject."""
    try:
        return model.of(body)
    except ValidationError as error:
        metadata = body["metadata"]
        raise UnreadableObject(
            f"{model.INFO.kind} {metadata.get('namespace', '')}/{metadata['name']} cannot be read: {described(error)}."
            " Correct it, or run the version of pgwarden that knows what it says"
        ) from error


def find(context: OperatorContext, model: type[ResourceModel], namespace: str, name: str) -> ResourceModel | None:
    """The object of that name; None when there is none. Raises UnreadableObject."""
    body = context.cache.get(Key(model.INFO.kind, namespace, name))
    return read(model, body) if body is not None else None


def all_of(context: OperatorContext, model: type[ResourceModel], namespace: str) -> list[ResourceModel]:
    """The namespace's objects of a kind; one that cannot be read tells that itself."""
    found = []
    for body in context.cache.bodies(model.INFO.kind, namespace):
        try:
            found.append(read(model, body))
        except UnreadableObject:
            continue
    return found


def described(error: ValidationError) -> str:
    """Where and what is wrong, without repeating what stands there."""
    found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)]
    more = f"; and {len(found) - SHOWN_ERRORS} more" if len(found) > SHOWN_ERRORS else ""
    return "; ".join(found[:SHOWN_ERRORS]) + more
