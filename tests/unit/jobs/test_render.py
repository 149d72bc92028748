"""Manifests of every room: what Kubernetes asks, Pod Security restricted, and any text arriving as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from pgwarden.backups.render import physical_backup
from pgwarden.jobs.render import TASK_BYTES, TaskTooLarge, environment, load, render, to_json
from pgwarden.jobs.task import Task
from pgwarden.migrations.render import migrate
from pgwarden.migrations.resource import DatabaseMigration
from pgwarden.monitoring.render import manifests as monitor_manifests
from pgwarden.restores.render import Identity, Surroundings, before_job, instance, restore, store_port
from pgwarden.stores.render import catalogue_key_secret, probe
from pgwarden.stores.resource import BackupStore
from tests.support.manifests import NONCE, Manifest, check, launch, task_of
from tests.support.objects import (
    Body,
    backup,
    body,
    bucket_store,
    claim_store,
    cluster,
    migration,
    observed_cluster,
    restorable_backup,
    restore_request,
)

AROUND = Surroundings(
    cluster="operational",
    location=restorable_backup().status.location,
    archive="",
    target=None,
    major=17,
    superuser="",
    store=bucket_store(),
    server_image="postgres:17",
    agent_image="agent:17",
    identity=Identity(999, 999, 999),
    decryption=None,
    image_pull_policy="Always",
    image_pull_secrets=("registry",),
)
LONG = "a" + ".very-long-name" * 16


def probe_job(store: BackupStore) -> Manifest:
    return probe(store, launch("probe-1"))


def migration_job(wanted: DatabaseMigration, name: str = "migrate-1") -> Manifest:
    return migrate(wanted, observed_cluster(), launch(name, attempt=3), source_digest="d")


def test_messages_name_a_migration_file_by_its_config_map_and_key() -> None:
    wanted = migration(sources=[{"configMap": {"name": name}} for name in ("base", "more", "base")])
    (container,) = migration_job(wanted)["spec"]["template"]["spec"]["containers"]
    folders = [each["mountPath"] for each in container["volumeMounts"] if each["name"].startswith("source-")]
    assert folders == ["/pgwarden/sources/base", "/pgwarden/sources/more"]


def backup_job(store: BackupStore) -> Manifest:
    return physical_backup(restorable_backup(), observed_cluster(), store, launch("backup-1"))


def test_only_pods_that_write_records_see_the_catalogues_key() -> None:
    names = {each["name"] for each in pod_volumes(backup_job(claim_store()))}
    assert "catalogue-key" in names
    assert "catalogue-key" not in {each["name"] for each in pod_volumes(probe_job(claim_store()))}
    task = Task.model_validate_json(task_of(backup_job(claim_store())))
    assert task.payload["store"]["catalogueKey"] == "/pgwarden/secrets/catalogue-key"


def pod_volumes(job: Manifest) -> list[Manifest]:
    found: list[Manifest] = job["spec"]["template"]["spec"]["volumes"]
    return found


def test_a_backup_asks_for_what_its_spec_says() -> None:
    asked: dict[str, Any] = {"type": "Incremental", "parent": "full-1", "from": "PreferReplica"}
    wanted = backup(**asked)
    wanted.metadata.labels["pgwarden.dev/policy"] = "nightly"
    around = observed_cluster(replicas=[{"host": "one"}, {"host": "two", "port": 5433}])
    job = physical_backup(wanted, around, claim_store(), launch("backup-1"))
    payload = Task.model_validate_json(task_of(job)).payload
    assert (payload["type"], payload["parentId"], payload["policy"]) == ("incremental", "full-1", "nightly")
    assert [(each["host"], each["port"]) for each in payload["replicas"]] == [("one", 5432), ("two", 5433)]
    assert payload["database"]["host"] == "db.example.com"
    assert payload["backupId"].startswith("20261123T110000Z-incr-")


def test_a_full_from_the_primary_is_the_default() -> None:
    payload = Task.model_validate_json(task_of(backup_job(claim_store()))).payload
    assert (payload["type"], payload["replicas"]) == ("full", [])


def test_nobody_owns_the_catalogues_key() -> None:
    secret = catalogue_key_secret(claim_store(), {"identity": "i", "hmac": "h"})
    assert secret["metadata"]["name"] == "claims-catalogue-key"
    assert "ownerReferences" not in secret["metadata"]
    assert secret["metadata"]["labels"]["pgwarden.dev/owner-name"] == "claims"


def all_manifests() -> list[Manifest]:
    tls = observed_cluster(tls={"mode": "verify-full", "ca": {"name": "ca"}}, replicas=[{"host": "replica"}])
    return [
        probe_job(claim_store()),
        probe_job(bucket_store()),
        probe_job(claim_store(LONG)),
        migration_job(migration()),
        migration_job(migration(LONG, sources=[{"configMap": {"name": LONG}}] * 2)),
        backup_job(bucket_store()),
        backup_job(claim_store(encryption={"recipients": ["age1" + "q" * 58]})),
        restore(restore_request(), AROUND, name="restore-1", attempt=1, nonce=NONCE),
        *before_job(restore_request(LONG), AROUND, password="secret"),
        *instance(restore_request(), AROUND),
        *monitor_manifests("shop", [tls, cluster(LONG)], image="operator", interval_seconds=10),
    ]


@pytest.mark.parametrize("manifest", all_manifests(), ids=lambda manifest: manifest["kind"])
def test_every_manifest_keeps_the_rules(manifest: Manifest) -> None:
    check(manifest)


def jobs() -> list[Manifest]:
    return [manifest for manifest in all_manifests() if manifest["kind"] == "Job"]


@pytest.mark.parametrize("job", jobs())
def test_a_job_runs_once_and_is_not_moved_or_cleared_away_before_it_was_read(job: Manifest) -> None:
    spec = job["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["podReplacementPolicy"] == "Failed"
    assert "ttlSecondsAfterFinished" not in spec
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    annotations = spec["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"


@pytest.mark.parametrize("job", jobs())
def test_a_jobs_task_is_one_its_agent_takes(job: Manifest) -> None:
    assert Task.model_validate_json(task_of(job)).nonce == NONCE


@pytest.mark.parametrize("manifest", all_manifests(), ids=lambda manifest: manifest["kind"])
def test_no_manifest_but_the_secret_holds_a_secret(manifest: Manifest) -> None:
    assert ("secret" in json.dumps(manifest.get("stringData", ""))) == (manifest["kind"] == "Secret")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_arrives_in_the_task_as_it_was(text: str) -> None:
    wanted = migration()
    wanted = wanted.model_copy(update={"spec": wanted.spec.model_copy(update={"database": text, "role": text})})
    task = Task.model_validate_json(task_of(migration_job(wanted)))
    assert task.payload["database"]["database"] == text
    assert task.payload["role"] == text


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=8,
))  # fmt: skip
def test_every_value_survives_a_template(value: Any) -> None:
    assert load(f"value: {to_json(value)}") == {"value": value}


@pytest.mark.parametrize(
    "text", ["😀", "\x00", "\x85", "\u2028", "\ufeff", "\uffff", "'\"\\{{ x }}", "$(X) $$", "- a: b\n#"]
)
def test_texts_that_yaml_treats_in_its_own_way_survive(text: str) -> None:
    assert load(f"value: {to_json(text)}") == {"value": text}
    python_loader: Any = yaml.load(f"value: {to_json(text)}", Loader=yaml.SafeLoader)
    assert python_loader == {"value": text}


def test_the_users_labels_are_added_and_never_replace_ours() -> None:
    template = {
        "labels": {"team": "a", "kueue.x-k8s.io/queue-name": "q"},
        "annotations": {"note": "n"},
        "suspend": True,
    }
    job = migration_job(migration(jobTemplate=template))
    assert job["spec"]["suspend"] is True
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        assert metadata["labels"]["team"] == "a"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "pgwarden"
        assert metadata["annotations"]["note"] == "n"


def test_a_task_too_large_for_an_annotation_is_refused() -> None:
    wanted = migration()
    wanted = wanted.model_copy(update={"spec": wanted.spec.model_copy(update={"role": "x" * TASK_BYTES})})
    with pytest.raises(TaskTooLarge):
        migration_job(wanted)


def test_a_value_that_a_template_misses_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("monitoring/service.yaml.j2", name="x")
    with pytest.raises(UndefinedError):
        environment().from_string("{{ nothing }}").render()


def test_what_is_no_object_is_refused() -> None:
    for text in ("", "[]", "1"):
        with pytest.raises(ValueError, match="exactly one object"):
            load(text)


def test_a_restores_network_policy_lets_out_to_the_store_only() -> None:
    policy = next(m for m in before_job(restore_request(), AROUND, password="x") if m["kind"] == "NetworkPolicy")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert sorted(ports) == [53, 53, 443]


GOOGLE: Body = {"gcs": {"bucket": "backups"}}
AZURE: Body = {"azure": {"account": "shop", "container": "backups"}}


@pytest.mark.parametrize(
    ("where", "port"),
    [
        ({"s3": {"endpoint": "http://minio:9000", "bucket": "backups"}}, 9000),
        ({"s3": {"endpoint": "http://minio", "bucket": "backups"}}, 80),
        (GOOGLE, 443),
        ({"gcs": {"bucket": "backups", "endpoint": "http://gcs:4443"}}, 4443),
        (AZURE, 443),
        ({"azure": {"account": "shop", "container": "backups", "endpoint": "https://azurite:10000/shop"}}, 10000),
        ({"claim": {"name": "backups"}}, None),
    ],
)
def test_the_port_of_every_kind_of_store_is_the_one_that_is_open(where: Body, port: int | None) -> None:
    store = BackupStore.of(body("BackupStore", "there", where))
    assert store_port(store) == port
