"""What a real API server makes of our kinds: it takes the CRDs, refuses what is wrong and says why, fills defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import ROOT, Cluster

pytestmark = [pytest.mark.usefixtures("kinds"), pytest.mark.timeout(300)]

API_VERSION = "pgwarden.dev/v1alpha1"
CRDS = sorted(path for path in (ROOT / "crds").glob("*.yaml") if path.stem not in {"kustomization", "roles"})
RECIPIENT = "age1" + "q" * 58


def thing(kind: str, spec: dict[str, Any], name: str = "example") -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def cluster_spec(**changes: Any) -> dict[str, Any]:
    return {"primary": {"host": "db"}, "credentials": {"monitor": {"secretName": "monitor"}}, **changes}


def restore_spec(**changes: Any) -> dict[str, Any]:
    target = {"newInstance": {"name": "copy", "storage": {"size": "1Gi"}}}
    return {"source": {"backupRef": {"name": "backup"}}, "target": target, "suspend": True, **changes}


def into_spec(*names: tuple[str, str]) -> dict[str, Any]:
    """A target in a server that runs: databases and their new names."""
    databases = [{"database": name, "newName": new_name} for name, new_name in names]
    return {"clusterRef": {"name": "live"}, "databases": databases}


def backup_spec(**changes: Any) -> dict[str, Any]:
    return {"clusterRef": {"name": "db"}, "storeRef": {"name": "store"}, "suspend": True, **changes}


def migration_spec(**changes: Any) -> dict[str, Any]:
    sources = [{"configMap": {"name": "files"}}]
    return {"clusterRef": {"name": "db"}, "database": "app", "sources": sources, "suspend": True, **changes}


S3 = {"endpoint": "https://s3.example.com", "bucket": "backups", "credentials": {"secretName": "keys"}}

REFUSED = {
    "verify-full without authorities": (
        thing("DatabaseCluster", cluster_spec(tls={"mode": "verify-full"})),
        "tls.mode verify-ca and verify-full need tls.ca",
    ),
    "a port that is none": (
        thing("DatabaseCluster", cluster_spec(primary={"host": "db", "port": 70000})),
        "should be less than or equal to 65535",
    ),
    "a mode libpq has not": (
        thing("DatabaseCluster", cluster_spec(tls={"mode": "verify"})),
        'supported values: "disable", "prefer", "require", "verify-ca", "verify-full"',
    ),
    "no primary": (thing("DatabaseCluster", {"credentials": {"monitor": {"secretName": "m"}}}), "spec.primary"),
    "an unknown field": (thing("DatabaseCluster", cluster_spec(primaryHost="db")), "field not declared in schema"),
    "a wrong type": (thing("DatabaseCluster", cluster_spec(databases="app")), "databases"),
    "two places for backups": (
        thing("BackupStore", {"s3": S3, "claim": {"name": "claim"}}),
        "exactly one of s3, gcs, azure and claim must be given",
    ),
    "no place for backups": (thing("BackupStore", {}), "exactly one of s3, gcs, azure and claim must be given"),
    "a recipient that is none": (
        thing("BackupStore", {"claim": {"name": "claim"}, "encryption": {"recipients": ["age1short"]}}),
        "spec.encryption.recipients",
    ),
    "a prefix that climbs out": (thing("BackupStore", {"claim": {"name": "claim"}, "prefix": "../x"}), "spec.prefix"),
    "a label that is ours": (
        thing("BackupStore", {"claim": {"name": "c"}, "jobTemplate": {"labels": {"pgwarden.dev/operation": "x"}}}),
        "labels whose key begins with pgwarden.dev/ are pgwarden's",
    ),
    "root as the user of a Job": (
        thing("BackupStore", {"claim": {"name": "c"}, "jobTemplate": {"runAsUser": 0}}),
        "should be greater than or equal to 1",
    ),
    "a rate PostgreSQL refuses": (thing("DatabaseBackup", backup_spec(maxRateKiB=5)), "0 (no limit) or at least 32"),
    "a version that is no number": (thing("DatabaseMigration", migration_spec(version="v3")), "spec.version"),
    "a migration without files": (thing("DatabaseMigration", migration_spec(sources=[])), "spec.sources"),
    "a target no Service can be called": (
        thing(
            "RestoreRequest",
            restore_spec(target={"newInstance": {"name": "1copy", "storage": {"size": "1Gi"}}}),
        ),
        "spec.target.newInstance.name",
    ),
    "two targets": (
        thing(
            "RestoreRequest",
            restore_spec(target={"newInstance": {"name": "copy", "storage": {"size": "1Gi"}}, "drill": {}}),
        ),
        "exactly one target must be given: newInstance, drill, inPlace or into",
    ),
    "no target": (
        thing("RestoreRequest", restore_spec(target={})),
        "exactly one target must be given: newInstance, drill, inPlace or into",
    ),
    "two databases of one new name": (
        thing("RestoreRequest", restore_spec(target={"into": into_spec(("a", "x"), ("b", "x"))})),
        "each newName can be given once",
    ),
    "one database twice": (
        thing("RestoreRequest", restore_spec(target={"into": into_spec(("a", "x"), ("a", "y"))})),
        'duplicate entries for key [database="a"]',
    ),
    "two checks of one name": (
        thing("RestoreRequest", restore_spec(checks=[{"name": "a", "database": "d", "query": "q"}] * 2)),
        'duplicate entries for key [name="a"]',
    ),
}


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_the_api_server_takes_the_crd_and_the_cost_of_its_rules(cluster: Cluster, path: Path) -> None:
    cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--force-conflicts", "--field-manager=test", "-f", str(path)
    )


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.replace(" ", "-"))
def test_what_is_wrong_is_refused_with_a_sentence(cluster: Cluster, case: str) -> None:
    manifest, sentence = REFUSED[case]
    refusal = cluster.apply(manifest, "--namespace=default", "--dry-run=server", check=False)
    assert refusal.returncode != 0
    assert sentence in refusal.stderr


def dry(cluster: Cluster, manifest: dict[str, Any]) -> dict[str, Any]:
    """The spec as the API server would store it."""
    done = cluster.apply(manifest, "--namespace=default", "--dry-run=server", "--output=yaml")
    spec: dict[str, Any] = yaml.safe_load(done.stdout)["spec"]
    return spec


def test_defaults_apply_inside_objects_that_were_left_out(cluster: Cluster) -> None:
    spec = dry(cluster, thing("DatabaseCluster", cluster_spec()))
    assert spec["tls"] == {"mode": "prefer"}
    assert spec["primary"] == {"host": "db", "port": 5432}
    assert spec["credentials"]["monitor"] == {
        "secretName": "monitor",
        "usernameKey": "username",
        "passwordKey": "password",
    }
    assert dry(cluster, thing("DatabaseBackup", backup_spec()))["compression"] == {"level": 3, "threads": 2}


def test_a_drill_needs_no_words(cluster: Cluster) -> None:
    spec = dry(cluster, thing("RestoreRequest", restore_spec(target={"drill": {}})))
    assert spec["target"] == {"drill": {}}


def test_a_quantity_may_be_a_number(cluster: Cluster) -> None:
    resources = {"limits": {"cpu": 1, "memory": "1Gi"}}
    spec = dry(cluster, thing("DatabaseBackup", backup_spec(jobTemplate={"resources": resources})))
    assert spec["jobTemplate"]["resources"] == resources


CHANGES = {
    "the cluster of a backup": (
        thing("DatabaseBackup", backup_spec()),
        backup_spec(clusterRef={"name": "other"}),
        "cannot be changed, but for suspend, cancel, expire and pinned",
    ),
    "the pod of a backup": (
        thing("DatabaseBackup", backup_spec()),
        backup_spec(jobTemplate={"priorityClassName": "high"}),
        "cannot be changed, but for suspend, cancel, expire and pinned",
    ),
    "the source of a restore": (
        thing("RestoreRequest", restore_spec()),
        restore_spec(source={"backupRef": {"name": "other"}}),
        "cannot be changed, but for suspend, cancel, proceed and discardOld",
    ),
    "an identity added to a restore": (
        thing("RestoreRequest", restore_spec()),
        restore_spec(identity={"name": "key", "key": "identity"}),
        "cannot be changed, but for suspend, cancel, proceed and discardOld",
    ),
    "checks taken out of a restore": (
        thing("RestoreRequest", restore_spec(checks=[{"name": "a", "database": "d", "query": "q"}])),
        restore_spec(),
        "cannot be changed, but for suspend, cancel, proceed and discardOld",
    ),
    "a cancellation taken back": (
        thing("RestoreRequest", restore_spec(cancel=True)),
        restore_spec(cancel=False),
        "cancel cannot be taken back",
    ),
    "the database of a migration": (
        thing("DatabaseMigration", migration_spec()),
        migration_spec(database="other"),
        "database cannot be changed; make a new object instead",
    ),
    "a store moved from a claim to a bucket": (
        thing("BackupStore", {"claim": {"name": "claim"}, "suspend": True}),
        {"s3": S3, "suspend": True},
        "bucket, claim and prefix of a BackupStore cannot be changed",
    ),
    "the prefix of a store": (
        thing("BackupStore", {"claim": {"name": "claim"}, "suspend": True}),
        {"claim": {"name": "claim"}, "prefix": "x", "suspend": True},
        "bucket, claim and prefix of a BackupStore cannot be changed",
    ),
}


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.replace(" ", "-"))
def test_what_is_fixed_at_creation_stays_so(cluster: Cluster, namespace: str, case: str) -> None:
    before, spec, sentence = CHANGES[case]
    cluster.apply(before, f"--namespace={namespace}")
    refusal = cluster.apply(before | {"spec": spec}, f"--namespace={namespace}", check=False)
    assert refusal.returncode != 0
    assert sentence in refusal.stderr


def test_suspend_and_cancel_of_a_restore_may_change(cluster: Cluster, namespace: str) -> None:
    cluster.apply(thing("RestoreRequest", restore_spec(requestedBy="me")), f"--namespace={namespace}")
    cluster.apply(
        thing("RestoreRequest", restore_spec(requestedBy="me", suspend=True, cancel=True)), f"--namespace={namespace}"
    )


def test_a_store_may_get_new_keys_and_recipients(cluster: Cluster, namespace: str) -> None:
    cluster.apply(thing("BackupStore", {"s3": S3, "suspend": True}), f"--namespace={namespace}")
    changed = {"s3": S3 | {"credentials": {"secretName": "new"}}, "suspend": True}
    cluster.apply(
        thing("BackupStore", changed | {"encryption": {"recipients": [RECIPIENT]}}), f"--namespace={namespace}"
    )


def test_kubectl_lists_all_kinds_by_one_word_and_each_by_its_short_name(cluster: Cluster, namespace: str) -> None:
    cluster.apply(thing("DatabaseCluster", cluster_spec(suspend=True)), f"--namespace={namespace}")
    assert "databasecluster" in cluster.kubectl("get", "pgwarden", "-n", namespace, "-o", "name").stdout
    for short in ("dbc", "store", "dbm", "dbb", "rr"):
        cluster.kubectl("get", short, "-n", namespace)


def test_every_sample_is_taken_as_it_stands(cluster: Cluster, namespace: str) -> None:
    files = sorted(path for path in (ROOT / "manifests/samples").glob("*.yaml") if path.name != "kustomization.yaml")
    assert len(files) >= 6
    for path in files:
        cluster.kubectl("apply", "--server-side", "--dry-run=server", "-n", namespace, "-f", str(path))
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "-n", namespace, "-k", "manifests/samples")
