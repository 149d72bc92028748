"""What the watches have told: the operator's own kinds, its Jobs and their pods, by key."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.kube.key import Key

Body = dict[str, Any]
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"


class Cache:
    """Bodies by key, with indexes from owner to Jobs, from Job to pods, and from namespace to keys."""

    def __init__(self) -> None:
        self._bodies: dict[Key, Body] = {}
        self._by_uid: dict[str, Key] = {}
        self._by_namespace: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._jobs_by_owner: dict[str, set[Key]] = defaultdict(set)
        self._pods_by_job: dict[tuple[str, str], set[Key]] = defaultdict(set)

    def put(self, key: Key, body: Body) -> None:
        """Remembers an object as the API server gave it, without its managed fields."""
        body.get("metadata", {}).pop("managedFields", None)
        self._bodies[key] = body
        self._by_uid[body["metadata"]["uid"]] = key
        self._by_namespace[key.kind, key.namespace].add(key)
        labels = body["metadata"].get("labels") or {}
        if key.kind == "Job" and OWNER_UID_LABEL in labels:
            self._jobs_by_owner[labels[OWNER_UID_LABEL]].add(key)
        if key.kind == "Pod" and JOB_NAME_LABEL in labels:
            self._pods_by_job[key.namespace, labels[JOB_NAME_LABEL]].add(key)

    def drop(self, key: Key) -> None:
        """Forgets an object."""
        body = self._bodies.pop(key, None)
        self._by_namespace[key.kind, key.namespace].discard(key)
        if body is None:
            return
        self._by_uid.pop(body["metadata"]["uid"], None)
        labels = body["metadata"].get("labels") or {}
        if key.kind == "Job" and OWNER_UID_LABEL in labels:
            self._discard(self._jobs_by_owner, labels[OWNER_UID_LABEL], key)
        if key.kind == "Pod" and JOB_NAME_LABEL in labels:
            self._discard(self._pods_by_job, (key.namespace, labels[JOB_NAME_LABEL]), key)

    def get(self, key: Key) -> Body | None:
        return self._bodies.get(key)

    def key_of(self, uid: str) -> Key | None:
        """The key of the object with that UID."""
        return self._by_uid.get(uid)

    def keys(self, kind: str, namespace: str | None = None) -> list[Key]:
        """Keys of one kind, in one namespace or in all."""
        if namespace is not None:
            return sorted(self._by_namespace[kind, namespace])
        return [key for key in self._bodies if key.kind == kind]

    def bodies(self, kind: str, namespace: str | None = None) -> list[Body]:
        return [self._bodies[key] for key in self.keys(kind, namespace)]

    def jobs_of(self, owner_uid: str) -> list[Body]:
        """Jobs made for the object with that UID."""
        return [self._bodies[key] for key in sorted(self._jobs_by_owner.get(owner_uid, ()))]

    def pods_of(self, namespace: str, job_name: str) -> list[Body]:
        """Pods of a Job."""
        return [self._bodies[key] for key in sorted(self._pods_by_job.get((namespace, job_name), ()))]

    @staticmethod
    def _discard(index: dict[Any, set[Key]], entry: Any, key: Key) -> None:
        index[entry].discard(key)
        if not index[entry]:
            del index[entry]
