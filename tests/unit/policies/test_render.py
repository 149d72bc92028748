"""What a policy makes: DatabaseBackups, Jobs that look after the archive, and the archiver."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from pgwarden.archiving.contract import PORT, ArchiverSettings, slot_name
from pgwarden.archiving.render import manifests
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.catalogue.contract import CatalogueTask, What
from pgwarden.jobs.names import LABEL_LENGTH, OWNER_UID_LABEL
from pgwarden.jobs.task import TASK_ANNOTATION, Task
from pgwarden.policies.judgments import ObservedPolicy
from pgwarden.policies.plan import plan
from pgwarden.policies.render import backup, look
from pgwarden.policies.runs import RunType
from pgwarden.policies.turns import Turn
from tests.support.manifests import launch
from tests.support.objects import NOW, bucket_store, claim_store, observed_cluster
from tests.unit.policies.bodies import full, policy, settled

LONG = "a-policy-with-a-name-that-is-longer-than-anybody-would-want-to-read-or-to-write-twice"


def turn(type_: RunType, **more: Any) -> Turn:
    return Turn(type_, NOW, "operational-x", **more)


def test_a_backup_is_what_the_policy_says_and_belongs_to_it() -> None:
    replica: dict[str, Any] = {"from": "PreferReplica"}
    it = policy(compression={"level": 5}, maxRateKiB=64, **replica)
    made = backup(it, turn(RunType.INCREMENTAL, parent="id-1"))
    assert made["metadata"]["labels"]["pgwarden.dev/policy"] == "operational"
    assert made["metadata"]["labels"]["pgwarden.dev/backup-type"] == "incremental"
    assert made["metadata"]["annotations"]["pgwarden.dev/scheduled-time"] == "2026-11-23T12:00:00Z"
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["blockOwnerDeletion"]) == ("BackupPolicy", it.metadata.uid, False)
    read = DatabaseBackup.of(made)
    assert (read.spec.type.value, read.spec.parent, read.spec.compression.level) == ("Incremental", "id-1", 5)
    assert (read.spec.from_.value, read.spec.max_rate_kib) == ("PreferReplica", 64)


def test_a_logical_backup_has_no_settings_of_physical_ones() -> None:
    it = policy(logical={"globals": False}, maxRateKiB=64)
    made = backup(it, turn(RunType.LOGICAL))
    assert made["spec"]["logical"]["globals"] is False
    assert not {"from", "maxRateKiB", "parent"} & made["spec"].keys()


@pytest.mark.parametrize("name", ["x", "operational", LONG])
def test_names_tell_what_and_when_and_fit(name: str) -> None:
    it = policy(name)
    names = set()
    for hour in range(3):
        runs = [full(NOW - timedelta(hours=9))]
        now = NOW + timedelta(hours=hour + 1)
        new = settled().model_copy(update={"metadata": it.metadata})
        (each,) = plan(new, ObservedPolicy(runs=runs), now).backups
        assert len(each.name) <= LABEL_LENGTH
        assert f"-incremental-{each.slot:%Y%m%d-%H%M}-" in each.name
        names.add(each.name)
    assert len(names) == 3


def a_look() -> dict[str, Any]:
    it = policy(retention={"window": "2w", "minimumFulls": 3, "monthly": 12}, verification={"backups": 4})
    return look(
        it,
        observed_cluster(),
        claim_store(),
        What.VERIFY,
        NOW,
        launch("look-1"),
        live=["live-1"],
        in_use=["used-1"],
        pinned=["pinned-1"],
    )


def test_a_look_into_the_archive_is_told_what_to_keep_and_what_is_in_use() -> None:
    made = a_look()
    task = Task.model_validate_json(made["spec"]["template"]["metadata"]["annotations"][TASK_ANNOTATION])
    payload = CatalogueTask.model_validate(task.payload)
    assert (payload.retention.window_seconds, payload.retention.minimum_fulls) == (14 * 86400, 3)
    assert (payload.retention.monthly, payload.verify.at_most) == (12, 4)
    assert payload.retention.grace_seconds == 86400, "a restore that nobody sees has a day"
    assert (payload.live, payload.in_use, payload.pinned) == (["live-1"], ["used-1"], ["pinned-1"])


def archiver(**spec: Any) -> list[dict[str, Any]]:
    cluster = observed_cluster(replicas=[{"host": "standby.example.com"}])
    return manifests(policy(**{"wal": {"enabled": True}, **spec}), cluster, bucket_store(), image="operator:1")


def test_the_archiver_is_told_where_to_take_wal_from_and_where_to() -> None:
    config, _, deployment = archiver()
    told = ArchiverSettings.model_validate(json.loads(config["data"]["settings.json"]))
    assert [endpoint.host for endpoint in told.endpoints] == ["db.example.com", "standby.example.com"]
    assert (told.slot, told.expected_system_identifier) == (slot_name(policy().metadata.uid), "7301")
    assert told.store.s3 is not None
    assert told.store.catalogue_key is not None, "moments are authenticated"
    mounted = {mount["mountPath"] for mount in deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]}
    for file in (told.endpoints[0].password_file, told.store.s3.secret_access_key_file, told.store.s3.ca_file):
        assert file is not None and any(file.startswith(f"{path}/") for path in mounted)


def test_the_archiver_runs_alone_and_restricted() -> None:
    _, service, deployment = archiver()
    spec = deployment["spec"]
    pod = spec["template"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["args"] == ["archive-wal"]
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["selector"]["matchLabels"] == service["spec"]["selector"]
    assert service["spec"]["ports"][0]["port"] == PORT
    assert spec["template"]["metadata"]["labels"][OWNER_UID_LABEL] == policy().metadata.uid


def test_pods_that_mount_one_claim_seek_each_other() -> None:
    made = manifests(policy(wal={"enabled": True}), observed_cluster(), claim_store(), image="operator:1")
    pod = made[2]["spec"]["template"]
    (term,) = pod["spec"]["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selector = term["podAffinityTerm"]["labelSelector"]["matchLabels"]
    assert selector == {"pgwarden.dev/store-claim": "backups"}
    assert selector.items() <= pod["metadata"]["labels"].items()
    assert selector.items() <= a_look()["spec"]["template"]["metadata"]["labels"].items()
    assert a_look()["spec"]["template"]["spec"]["affinity"] == pod["spec"]["affinity"]
    assert "affinity" not in archiver()[2]["spec"]["template"]["spec"]


def test_no_secret_stands_in_what_the_archiver_is_made_of() -> None:
    text = json.dumps(archiver())
    assert "secretKeyRef" not in text
    assert '"env"' not in text


def test_what_the_job_template_says_holds_for_the_archiver_too() -> None:
    template = {"nodeSelector": {"disk": "fast"}, "runAsUser": 1000, "priorityClassName": "high", "labels": {"a": "b"}}
    deployment = archiver(jobTemplate=template)[2]
    pod = deployment["spec"]["template"]
    assert pod["spec"]["nodeSelector"] == {"disk": "fast"}
    assert pod["spec"]["securityContext"]["runAsUser"] == 1000
    assert pod["spec"]["priorityClassName"] == "high"
    assert pod["metadata"]["labels"]["a"] == "b"


def test_manifests_differ_only_when_something_has_changed() -> None:
    marks = [[each["metadata"]["annotations"] for each in archiver()] for _ in range(2)]
    assert marks[0] == marks[1]
    changed = [each["metadata"]["annotations"] for each in archiver(wal={"enabled": True, "compressionLevel": 9})]
    assert [one != other for one, other in zip(marks[0], changed, strict=True)] == [True, False, False]
