"""What an API server holds, for tests of one controller over `loopback`."""

from __future__ import annotations

from dataclasses import dataclass, field

from .loopback import Answer, Asked, refusal
from .objects import NAMESPACE, NOW, Body

SECRET_KEYS = ("identity", "hmac", "username", "password")
"""Every Secret has all that anybody looks for in one."""


@dataclass
class ApiServer:
    """Holds objects, numbers their versions, merges statuses; refuses what a test says."""

    objects: dict[tuple[str, str], Body] = field(default_factory=dict)
    refuses: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """(method, plural) -> what is answered instead."""
    version: int = 100

    def answer(self, asked: Asked) -> Answer:
        parts = asked.path.split("/")
        at = parts.index(NAMESPACE)
        plural, name = parts[at + 1], parts[at + 2] if len(parts) > at + 2 else ""
        if (asked.method, plural) in self.refuses:
            return self.refuses[asked.method, plural]
        if asked.method == "POST":
            name = asked.body["metadata"]["name"]
            if (plural, name) in self.objects:
                return refusal(409, "AlreadyExists")
            return 201, self.keep(
                plural, name, {**asked.body, "metadata": {**asked.body["metadata"], "uid": f"uid-of-{name}"}}
            )
        if not name:
            return 200, {"metadata": {}, "items": [made for (kind, _), made in self.objects.items() if kind == plural]}
        if plural == "secrets":
            return 200, {"metadata": {}, "data": dict.fromkeys(SECRET_KEYS, "eA==")}
        if asked.method == "GET" and not name:
            return 200, {"items": [each for (kept, _), each in self.objects.items() if kept == plural]}
        if (plural, name) not in self.objects:
            return refusal(404, "NotFound")
        if asked.method == "DELETE":
            return 200, self.objects.pop((plural, name))
        if asked.method == "PATCH":
            found = self.objects[plural, name]
            changed = {part: merged(found.get(part) or {}, asked.body.get(part, {})) for part in ("spec", "status")}
            edited = changed["spec"] != (found.get("spec") or {})
            generation = found["metadata"].get("generation", 1) + edited
            metadata = {**found["metadata"], "generation": generation}
            if "annotations" in asked.body.get("metadata", {}):
                metadata["annotations"] = merged(metadata.get("annotations", {}), asked.body["metadata"]["annotations"])
            return 200, self.keep(plural, name, {**found, **changed, "metadata": metadata})
        return 200, self.objects[plural, name]

    def keep(self, plural: str, name: str, made: Body) -> Body:
        self.version += 1
        metadata = {"namespace": NAMESPACE, "creationTimestamp": NOW.isoformat(), **made["metadata"]}
        kept = {**made, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        self.objects[plural, name] = kept
        return kept


def merged(found: Body, patch: Body) -> Body:
    """A JSON merge patch (RFC 7396) laid over an object."""
    result = dict(found)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result[key] if isinstance(result.get(key), dict) else {}, value)
        else:
            result[key] = value
    return result
