"""The cache: what watches, lists and answers tell in any order, and who belongs to whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgwarden.jobs.names import OWNER_UID_LABEL
from pgwarden.kube.cache import REMEMBERED_GONE, Body, Cache
from pgwarden.kube.key import Key
from tests.support.objects import NAMESPACE, job_body, pod_body

JOB = Key("Job", NAMESPACE, "job-1")


def at(version: int, body: Body | None = None, uid: str = "") -> Body:
    """A body at a resource version."""
    made = body or job_body()
    made["metadata"]["resourceVersion"] = str(version)
    if uid:
        made["metadata"]["uid"] = uid
    return made


def test_an_older_version_never_replaces_a_newer_one() -> None:
    cache = Cache()
    assert cache.put(JOB, at(105))
    # The echo of an earlier change, told by a watch that runs behind our own write.
    assert not cache.put(JOB, at(103))
    assert not cache.put(JOB, at(105))
    assert cache.get(JOB) == at(105)
    assert cache.put(JOB, at(1000))


def test_what_was_deleted_does_not_come_back() -> None:
    cache = Cache()
    cache.put(JOB, at(1))
    assert cache.drop(JOB, "uid-of-job-1")
    # The answer to a list or a write that was under way.
    assert not cache.put(JOB, at(2))
    assert cache.get(JOB) is None


def test_what_was_deleted_before_it_was_known_does_not_come_back_either() -> None:
    cache = Cache()
    assert cache.drop(JOB, "uid-of-job-1")
    assert not cache.put(JOB, at(2))


def test_a_new_object_of_the_same_name_is_another_one() -> None:
    cache = Cache()
    cache.put(JOB, at(9, uid="old"))
    assert cache.put(JOB, at(3, uid="new"))
    assert cache.key_of("old") is None
    # The late news of the old one's end is none of the new one's business.
    assert not cache.drop(JOB, "old")
    assert cache.key_of("new") == JOB


def test_jobs_and_pods_are_found_by_owner() -> None:
    cache = Cache()
    cache.put(JOB, job_body())
    cache.put(Key("Pod", NAMESPACE, "job-1-x"), pod_body())
    assert [job["metadata"]["name"] for job in cache.jobs_of("uid-of-nightly")] == ["job-1"]
    assert [pod["metadata"]["name"] for pod in cache.pods_of(NAMESPACE, "job-1")] == ["job-1-x"]
    assert cache.pods_of("elsewhere", "job-1") == []


def test_an_index_follows_a_label_that_changes() -> None:
    cache = Cache()
    cache.put(JOB, at(1))
    moved = at(2, job_body(owner_uid="another"))
    cache.put(JOB, moved)
    assert cache.jobs_of("uid-of-nightly") == []
    assert cache.jobs_of("another") == [moved]


def test_managed_fields_are_not_kept() -> None:
    cache = Cache()
    body = job_body()
    body["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    cache.put(JOB, body)
    assert "managedFields" not in cache.bodies("Job")[0]["metadata"]


def test_the_memory_of_what_is_gone_is_bounded() -> None:
    cache = Cache()
    for number in range(REMEMBERED_GONE + 10):
        cache.drop(JOB, str(number))
    assert len(cache._gone) == REMEMBERED_GONE


NAMES = st.sampled_from(["a", "b", "c"])
OWNERS = st.sampled_from(["one", "two"])


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "drop"]), NAMES, OWNERS, st.integers(1, 9), st.integers(1, 3)), max_size=40
    )
)
def test_indexes_agree_with_what_is_there(steps: list[tuple[str, str, str, int, int]]) -> None:
    cache = Cache()
    for what, name, owner, version, life in steps:
        key, uid = Key("Job", NAMESPACE, name), f"{name}-{life}"
        if what == "put":
            cache.put(key, at(version, job_body(name, owner), uid))
        else:
            cache.drop(key, uid)
        bodies = cache.bodies("Job")
        for one in ("one", "two"):
            wanted = [b for b in bodies if b["metadata"]["labels"][OWNER_UID_LABEL] == one]
            assert sorted(map(str, cache.jobs_of(one))) == sorted(map(str, wanted))
        assert cache.keys("Job", NAMESPACE) == sorted(cache.keys("Job"))
        for body in bodies:
            assert cache.key_of(body["metadata"]["uid"]) == Key("Job", NAMESPACE, body["metadata"]["name"])
    for key in cache.keys("Job"):
        cache.drop(key)
    # Nothing is left behind that would grow.
    assert not any((cache._bodies, cache._by_uid, cache._by_namespace, cache._jobs_by_owner, cache._pods_by_job))
