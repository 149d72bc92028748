"""The demo's bucket: the development cluster's S3 server, with encryption to a key made for this demo."""

from __future__ import annotations

import base64
import json

import pyrage

from hack.demo.shell import Demo


def bucket_store(demo: Demo) -> str:
    """Manifests of a BackupStore, its Secrets and its certificate authority."""
    root = json.loads(demo.run("kubectl", "-n", "pgwarden-s3", "get", "secret", "s3-root", "--output", "json"))
    authority = json.loads(demo.run("kubectl", "-n", "pgwarden-s3", "get", "configmap", "s3-ca", "--output", "json"))
    key = pyrage.x25519.Identity.generate()
    objects = [
        secret("bucket", {name: base64.b64decode(value).decode() for name, value in root["data"].items()}),
        secret("backup-identity", {"identity": str(key)}),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "bucket-ca"},
            "data": {"ca.crt": authority["data"]["ca.crt"]},
        },
        {
            "apiVersion": "pgwarden.dev/v1alpha1",
            "kind": "BackupStore",
            "metadata": {"name": "bucket"},
            "spec": {
                "s3": {
                    "endpoint": "https://s3.pgwarden-s3.svc:7070",
                    "bucket": "backups",
                    "ca": {"kind": "ConfigMap", "name": "bucket-ca"},
                    "credentials": {"secretName": "bucket"},
                },
                # Each run of the demo has databases of its own, and so archives of its own.
                "prefix": f"demo/{base64.b32encode(str(key.to_public())[-10:].encode()).decode().strip('=').lower()}",
                "encryption": {
                    "recipients": [str(key.to_public())],
                    "identity": {"name": "backup-identity", "key": "identity"},
                },
            },
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def secret(name: str, data: dict[str, str]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
