"""A BackupStore that cannot be used tells why and what to do, by itself and on the backups that wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster import Cluster
from tests.support.place import Body, Place, backup, claim, config_map, is_ready, is_writable, secret, store

pytestmark = pytest.mark.timeout(600)

S3 = "pgwarden-s3"
ENDPOINT = f"https://s3.{S3}.svc:7070"
READ_ONLY = "http://read-only-s3:7070"


def bucket(**changes: Any) -> dict[str, Any]:
    sound = {
        "endpoint": ENDPOINT,
        "bucket": "backups",
        "ca": {"kind": "ConfigMap", "name": "bucket-ca"},
        "credentials": {"secretName": "bucket-keys"},
    }
    return {"s3": {key: value for key, value in (sound | changes).items() if value is not None}, "prefix": "mistakes"}


# name: (spec, reason, what the message must say)
BROKEN: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "keyless": (
        bucket(credentials={"secretName": "no-keys"}),
        "SecretMissing",
        ("Secret {namespace}/no-keys (s3.credentials of BackupStore keyless) does not exist", "create it with the key"),
    ),
    "half-a-key": (
        bucket(credentials={"secretName": "half-a-key"}),
        "SecretMissing",
        ("Secret {namespace}/half-a-key", "has no key secret_access_key", "it has access_key_id", "Add the key"),
    ),
    "wrong-key": (
        bucket(credentials={"secretName": "wrong-key"}),
        "StoreCredentialsRejected",
        ("bucket backups", "does not accept the credentials", "Check the keys in the BackupStore's Secret"),
    ),
    "no-bucket": (bucket(bucket="not-there"), "BucketNotFound", ("bucket not-there", "Create the bucket")),
    "no-ca": (bucket(ca=None), "CertificateNotTrusted", ("bucket backups", "Put the certificate of the authority")),
    "ca-absent": (
        bucket(ca={"kind": "ConfigMap", "name": "no-authority"}),
        "SecretMissing",
        ("ConfigMap {namespace}/no-authority (s3.ca of BackupStore ca-absent) does not exist",),
    ),
    "no-server": (
        bucket(endpoint=f"https://nowhere.{S3}.svc:7070"),
        "StoreUnreachable",
        ("nowhere", "cannot be resolved", "Check the endpoint"),
    ),
    "claimless": ({"claim": {"name": "nobodys"}}, "ClaimMissing", ("PersistentVolumeClaim {namespace}/nobodys",)),
    "on-a-database": (
        {"claim": {"name": "data-sound-0"}},
        "ClaimInUse",
        (
            "PersistentVolumeClaim {namespace}/data-sound-0 is mounted by pod sound-0",
            "give the store a claim of its own",
        ),
    ),
    "read-only-bucket": (
        bucket(endpoint=READ_ONLY, ca=None),
        "StoreAccessDenied",
        ("bucket backups", "denies access", "Let these credentials get, put, list and delete"),
    ),
    "read-only-claim": (
        {"claim": {"name": "read-only"}},
        "StoreReadOnly",
        ("claim", "Mount the claim writable"),
    ),
    "locked-folder": (
        {"claim": {"name": "shelf"}, "prefix": "locked"},
        "StoreAccessDenied",
        ("locked", "Give the pod's group access"),
    ),
}


@pytest.fixture(scope="module")
def read_only_class(cluster: Cluster) -> Iterator[str]:
    """A StorageClass whose volumes are mounted read-only."""
    default = next(
        item
        for item in cluster.get("storageclasses")["items"]
        if item["metadata"].get("annotations", {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    )
    name = "test-read-only"
    cluster.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": default["provisioner"],
            "volumeBindingMode": default["volumeBindingMode"],
            "mountOptions": ["ro"],
        }
    )
    yield name
    cluster.kubectl("delete", "storageclass", name)


@pytest.fixture(scope="module")
def broken(place: Place, read_only_class: str) -> Place:
    """All of them at once, and two that are sound: one of them too small for a backup."""
    root = Place(place.cluster, S3).secret("s3-root")
    place.kubectl("exec", "shell", "--", "sh", "-c", "mkdir -p /store/locked && chmod 0500 /store/locked")
    place.apply(
        *read_only_server(place),
        secret("bucket-keys", **root),
        secret("half-a-key", access_key_id=root["access_key_id"]),
        secret("wrong-key", access_key_id=root["access_key_id"], secret_access_key="wrong-secret-key"),
        config_map("bucket-ca", Place(place.cluster, S3).get("configmap", "s3-ca")["data"]),
        claim("read-only", "64Mi", read_only_class),
        claim("small", "3Mi"),
        *(store(name, **spec) for name, (spec, _, _) in BROKEN.items()),
        store("small", claim={"name": "small"}),
        store("paused", claim={"name": "shelf"}, prefix="paused", suspend=True),
        backup("to-small", "sound", "small", compression={"level": 1}),
        *(backup(f"to-{name}", "sound", name) for name in ("no-bucket", "paused", "not-there")),
    )
    return place


def read_only_server(place: Place) -> list[Body]:
    """A second S3 server that serves an empty bucket and lets nobody write."""
    deployment = Place(place.cluster, S3).get("deployment", "s3")
    spec = deployment["spec"]["template"]["spec"]
    container = spec["containers"][0]
    container["args"] = ["--port=:7070", "--readonly", "posix", "/data"]
    container["env"] = [
        {"name": f"ROOT_{name}_KEY", "valueFrom": {"secretKeyRef": {"name": "bucket-keys", "key": key}}}
        for name, key in (("ACCESS", "access_key_id"), ("SECRET", "secret_access_key"))
    ]
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    container["readinessProbe"] = {"tcpSocket": {"port": 7070}, "periodSeconds": 1}
    maker = {
        "name": "bucket",
        "image": "localhost/postgres:18",
        "imagePullPolicy": "IfNotPresent",
        "command": ["mkdir", "-p", "/data/backups"],
        "securityContext": container["securityContext"],
        "volumeMounts": container["volumeMounts"],
    }
    labels = {"app": "read-only-s3"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "read-only-s3", "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": spec["securityContext"],
            "initContainers": [maker],
            "containers": [container],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "read-only-s3"},
        "spec": {"selector": labels, "ports": [{"port": 7070}]},
    }
    return [service, pod]


@pytest.mark.parametrize("name", BROKEN)
def test_each_store_that_cannot_be_used_says_why_and_what_to_do(broken: Place, name: str) -> None:
    _, reason, parts = BROKEN[name]
    message = broken.said("backupstore", name, "Writable", reason)
    for part in parts:
        assert part.format(namespace=broken.namespace) in message, message
    assert "wrong-secret-key" not in message


def test_a_store_is_probed_again_when_its_secret_comes(broken: Place) -> None:
    broken.said("backupstore", "keyless", "Ready", "SecretMissing")
    broken.apply(secret("no-keys", **broken.secret("bucket-keys")))
    broken.until("backupstore", "keyless", is_writable)


def test_a_backup_that_does_not_fit_says_so_and_leaves_nothing_that_looks_like_one(broken: Place) -> None:
    message = broken.said("databasebackup", "to-small", "Stalled", "StoreFull")
    assert "claim" in message and "Make the claim larger" in message, message
    body = broken.get("databasebackup", "to-small")
    assert next(c for c in body["status"]["conditions"] if c["type"] == "Restorable")["status"] == "False"


def test_a_backup_waits_for_its_store_and_says_for_what(broken: Place) -> None:
    message = broken.said("databasebackup", "to-no-bucket", "Ready", "StoreNotWritable")
    assert "BackupStore no-bucket is not writable (BucketNotFound)" in message
    assert "BackupStore paused is suspended" in broken.said("databasebackup", "to-paused", "Ready", "StoreSuspended")
    told = broken.said("databasebackup", "to-not-there", "Ready", "StoreNotFound")
    assert "no BackupStore not-there in this namespace; create it" in told
    broken.patch("backupstore", "paused", {"spec": {"suspend": False}})
    broken.until("databasebackup", "to-paused", is_ready)
