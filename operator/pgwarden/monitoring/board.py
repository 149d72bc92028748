"""What the monitors of all namespaces last answered, as the operator remembers it."""

from __future__ import annotations

from pgwarden.kube.key import Key
from pgwarden.monitoring.contract import ClusterObservation, Observations


class ObservationBoard:
    """Observations by DatabaseCluster, and why a namespace's monitor does not answer."""

    def __init__(self) -> None:
        self._seen: dict[Key, ClusterObservation] = {}
        self._problems: dict[str, str] = {}
        self._digests: dict[Key, str] = {}

    def expect(self, key: Key, digest: str) -> None:
        """From now on only observations made with these settings count."""
        if self._digests.get(key) != digest:
            self._digests[key] = digest
            self._seen.pop(key, None)

    def take(self, namespace: str, document: Observations) -> dict[Key, bool]:
        """Remembers a monitor's document; returns the clusters it speaks of, and whether it tells something new."""
        silent = self._problems.pop(namespace, None) is not None
        taken = {}
        for observation in document.clusters:
            key = Key("DatabaseCluster", namespace, observation.name)
            if self._digests.get(key) == observation.digest:
                before = self._seen.get(key)
                taken[key] = (
                    silent or before is None or observation != before.model_copy(update={"time": observation.time})
                )
                self._seen[key] = observation
        return taken

    def fail(self, namespace: str, problem: str) -> bool:
        """Remembers why a monitor does not answer; returns whether that is news."""
        news = self._problems.get(namespace) != problem
        self._problems[namespace] = problem
        return news

    def observation(self, key: Key, uid: str) -> ClusterObservation | None:
        """The last observation of that very object."""
        found = self._seen.get(key)
        return found if found is not None and found.uid == uid else None

    def problem(self, namespace: str) -> str:
        """Why the namespace's monitor does not answer; empty when it does."""
        return self._problems.get(namespace, "")

    def leave(self, namespace: str) -> None:
        """The namespace has no monitor any more."""
        self._problems.pop(namespace, None)

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._seen.pop(key, None)
        self._digests.pop(key, None)
