"""What the operator remembers of the monitors' documents."""

from __future__ import annotations

from datetime import timedelta

from pgwarden.jobs.digests import digest_of
from pgwarden.kube.key import Key
from pgwarden.monitoring.board import ObservationBoard
from pgwarden.monitoring.contract import ClusterObservation, DatabaseObservation, EndpointObservation, Observations
from pgwarden.monitoring.render import manifests, watched
from tests.support.objects import NAMESPACE, NOW, cluster

KEY = Key("DatabaseCluster", NAMESPACE, "operational")


def document(seconds: float = 0, digest: str = "d", size: int = 1) -> Observations:
    moment = NOW + timedelta(seconds=seconds)
    seen = ClusterObservation(
        name="operational",
        uid="uid",
        digest=digest,
        time=moment,
        primary=EndpointObservation(host="h", port=5432, reachable=True),
        databases=[DatabaseObservation(name="app", size_bytes=size)],
    )
    return Observations(time=moment, clusters=[seen])


def board() -> ObservationBoard:
    made = ObservationBoard()
    made.expect(KEY, "d")
    return made


def test_only_what_changed_is_news() -> None:
    it = board()
    assert it.take(NAMESPACE, document(0)) == {KEY: True}
    assert it.take(NAMESPACE, document(10)) == {KEY: False}
    assert it.take(NAMESPACE, document(20, size=2)) == {KEY: True}
    found = it.observation(KEY, "uid")
    assert found is not None
    assert found.time == NOW + timedelta(seconds=20)


def test_the_end_of_a_silence_is_news() -> None:
    it = board()
    it.take(NAMESPACE, document())
    assert it.fail(NAMESPACE, "gone")
    assert not it.fail(NAMESPACE, "gone")
    assert it.problem(NAMESPACE) == "gone"
    assert it.take(NAMESPACE, document(5)) == {KEY: True}
    assert it.problem(NAMESPACE) == ""


def test_what_was_seen_with_other_settings_does_not_count() -> None:
    it = board()
    it.take(NAMESPACE, document())
    it.expect(KEY, "new")
    assert it.observation(KEY, "uid") is None
    assert it.take(NAMESPACE, document(5)) == {}


def test_what_was_seen_of_an_object_of_the_same_name_does_not_count() -> None:
    it = board()
    it.take(NAMESPACE, document())
    assert it.observation(KEY, "another uid") is None


def test_what_is_gone_is_forgotten() -> None:
    it = board()
    it.take(NAMESPACE, document())
    it.fail(NAMESPACE, "x")
    it.forget(KEY)
    it.leave(NAMESPACE)
    assert not any((it._seen, it._digests, it._problems))


def test_the_monitors_manifests_change_when_and_only_when_what_it_looks_at_does() -> None:
    def digests(*clusters: object) -> list[str]:
        made = manifests(NAMESPACE, list(clusters), image="operator", interval_seconds=10)  # type: ignore[arg-type]
        return [digest_of(manifest) for manifest in made]

    assert digests(cluster(), cluster("analytics")) == digests(cluster("analytics"), cluster())
    assert digests(cluster()) == digests(cluster(suspend=True))
    assert digests(cluster()) != digests(cluster(databases=["app"]))
    assert watched(cluster()).digest != watched(cluster(primary={"host": "other"})).digest
    assert watched(cluster()).digest == watched(cluster(image="postgres:17")).digest
