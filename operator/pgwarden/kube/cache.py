"""What the watches have told: the operator's own kinds, its Jobs and their pods, by key."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.kube.key import Key

Body = dict[str, Any]
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
REMEMBERED_GONE = 10_000


class Cache:
    """Bodies by key, with indexes from owner to Jobs, from Job to pods, and from kind and namespace to keys.

    Watches, lists and answers to our own writes arrive in any order: an older version never replaces a newer one, and
    what is known to be deleted does not come back.
    """

    def __init__(self) -> None:
        self._bodies: dict[Key, Body] = {}
        self._by_uid: dict[str, Key] = {}
        self._by_kind: dict[str, dict[Key, None]] = defaultdict(dict)
        self._by_namespace: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._jobs_by_owner: dict[str, set[Key]] = defaultdict(set)
        self._pods_by_job: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._by_database: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._gone: OrderedDict[str, None] = OrderedDict()

    def put(self, key: Key, body: Body) -> bool:
        """Remembers an object as the API server gave it, without its managed fields; False when it is old news."""
        body.get("metadata", {}).pop("managedFields", None)
        if body["metadata"]["uid"] in self._gone:
            return False
        known = self._bodies.get(key)
        if known is not None:
            if same_object(known, body) and version(body) <= version(known):
                return False
            self._forget(key)
        self._bodies[key] = body
        self._by_uid[body["metadata"]["uid"]] = key
        self._by_kind[key.kind][key] = None
        self._by_namespace[key.kind, key.namespace].add(key)
        labels = body["metadata"].get("labels") or {}
        if key.kind == "Job" and OWNER_UID_LABEL in labels:
            self._jobs_by_owner[labels[OWNER_UID_LABEL]].add(key)
        if key.kind == "Pod" and JOB_NAME_LABEL in labels:
            self._pods_by_job[key.namespace, labels[JOB_NAME_LABEL]].add(key)
        self._by_database[key.kind, database_of(body)].add(key)
        return True

    def drop(self, key: Key, uid: str = "") -> bool:
        """Forgets an object that was deleted; False when another one of that name (than `uid`) is there by now."""
        known = self._bodies.get(key)
        gone = uid or (known["metadata"]["uid"] if known is not None else "")
        if gone:
            self._gone[gone] = None
            while len(self._gone) > REMEMBERED_GONE:
                self._gone.popitem(last=False)
        if known is not None and known["metadata"]["uid"] != gone:
            return False
        self._forget(key)
        return True

    def _forget(self, key: Key) -> None:
        body = self._bodies.pop(key, None)
        self._by_kind[key.kind].pop(key, None)
        self._discard(self._by_namespace, (key.kind, key.namespace), key)
        if body is None:
            return
        if self._by_uid.get(body["metadata"]["uid"]) == key:
            del self._by_uid[body["metadata"]["uid"]]
        labels = body["metadata"].get("labels") or {}
        if key.kind == "Job" and OWNER_UID_LABEL in labels:
            self._discard(self._jobs_by_owner, labels[OWNER_UID_LABEL], key)
        if key.kind == "Pod" and JOB_NAME_LABEL in labels:
            self._discard(self._pods_by_job, (key.namespace, labels[JOB_NAME_LABEL]), key)
        self._discard(self._by_database, (key.kind, database_of(body)), key)

    def get(self, key: Key) -> Body | None:
        return self._bodies.get(key)

    def key_of(self, uid: str) -> Key | None:
        """The key of the object with that UID."""
        return self._by_uid.get(uid)

    def keys(self, kind: str, namespace: str | None = None) -> list[Key]:
        """Keys of one kind, in one namespace or in all."""
        if namespace is not None:
            return sorted(self._by_namespace.get((kind, namespace), ()))
        return list(self._by_kind[kind])

    def bodies(self, kind: str, namespace: str | None = None) -> list[Body]:
        return [self._bodies[key] for key in self.keys(kind, namespace)]

    def jobs_of(self, owner_uid: str) -> list[Body]:
        """Jobs made for the object with that UID."""
        return [self._bodies[key] for key in sorted(self._jobs_by_owner.get(owner_uid, ()))]

    def pods_of(self, namespace: str, job_name: str) -> list[Body]:
        """Pods of a Job."""
        return [self._bodies[key] for key in sorted(self._pods_by_job.get((namespace, job_name), ()))]

    def on_database(self, kind: str, database: str) -> list[Key]:
        """Keys of one kind, in all namespaces, whose spec.database is that name."""
        return sorted(self._by_database.get((kind, database), ()))

    @staticmethod
    def _discard(index: dict[Any, set[Key]], entry: Any, key: Key) -> None:
        keys = index.get(entry, set())
        keys.discard(key)
        if not keys:
            index.pop(entry, None)


def database_of(body: Body) -> str:
    """The name in spec.database; empty for what has none."""
    return str((body.get("spec") or {}).get("database") or "")


def same_object(one: Body, other: Body) -> bool:
    """Whether two bodies are of the same object, not of two that had the same name one after the other."""
    return bool(one["metadata"].get("uid") == other["metadata"].get("uid"))


def version(body: Body) -> int:
    """The resource version as a number: newer ones of one resource type are greater (KEP 5504)."""
    text = str(body["metadata"].get("resourceVersion", "0"))
    return int(text) if text.isdigit() else 0
