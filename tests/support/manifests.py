"""What every manifest that pgwarden makes must keep to, whatever it is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pgwarden.api.model import DNS_LABEL
from pgwarden.jobs.launch import Launch

Manifest = dict[str, Any]

NONCE = "0123456789abcdef"
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9]([-A-Za-z0-9_.]{0,61})?)?[A-Za-z0-9])?")


def launch(name: str, attempt: int = 1) -> Launch:
    """An attempt in a Job of that name."""
    return Launch(name, attempt, NONCE, image="agent:17", image_pull_policy="Always", image_pull_secrets=("registry",))


def check(manifest: Manifest) -> None:
    """Asserts what the API server and Pod Security "restricted" ask of it, and that nothing comes by environment."""
    metadata = manifest["metadata"]
    assert manifest["apiVersion"]
    assert manifest["kind"]
    assert metadata["namespace"]
    assert re.match(DNS_LABEL, metadata["name"])
    assert len(metadata["name"]) <= 63
    check_labels(metadata["labels"])
    for owner in metadata.get("ownerReferences", []):
        assert all(owner[key] for key in ("apiVersion", "kind", "name", "uid"))
        # A finalizer in disguise: the namespace could not be deleted before we had looked.
        assert not owner.get("blockOwnerDeletion")
    assert "finalizers" not in metadata
    template = manifest.get("spec", {}).get("template") if manifest["kind"] != "NetworkPolicy" else None
    if template is not None:
        check_labels(template["metadata"]["labels"])
        check_pod(template["spec"])


def check_labels(labels: dict[str, str]) -> None:
    """Keys and values as the API server takes them."""
    for key, value in labels.items():
        assert LABEL_KEY.fullmatch(key), key
        assert LABEL_VALUE.fullmatch(value), value
        assert len(value) <= 63


def check_pod(spec: Manifest) -> None:
    """Pod Security Standards, level restricted (Kubernetes documentation), and our own rules on top."""
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert len(volumes) == len(spec["volumes"])
    for volume in volumes.values():
        assert len(volume["name"]) <= 63
        assert re.match(DNS_LABEL, volume["name"])
        assert volume.keys() - {"name"} <= {
            "configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret",
        }  # fmt: skip
    used = set()
    for container in containers_of(spec):
        assert container["image"]
        assert not container.keys() & {"env", "envFrom"}
        restricted = container["securityContext"]
        assert restricted["allowPrivilegeEscalation"] is False
        assert restricted["capabilities"] == {"drop": ["ALL"]}
        assert restricted["readOnlyRootFilesystem"] is True
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(paths) == len(set(paths))
        used |= {mount["name"] for mount in container["volumeMounts"]}
    assert used <= volumes.keys() | {"data"}  # of a StatefulSet's claim
    assert "env" not in "".join(keys_of(spec)).split()


def containers_of(spec: Manifest) -> list[Manifest]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def keys_of(value: Any) -> Iterator[str]:
    """All keys of all objects inside."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield f" {key}"
            yield from keys_of(each)
    if isinstance(value, list):
        for each in value:
            yield from keys_of(each)


def task_of(job: Manifest, name: str = "pgwarden.dev/task") -> str:
    """The task as the agent's container will read it from its file."""
    template = job["spec"]["template"]
    items = next(v for v in template["spec"]["volumes"] if v["name"] == "task")["downwardAPI"]["items"]
    assert any(item["fieldRef"]["fieldPath"] == f"metadata.annotations['{name}']" for item in items)
    return str(template["metadata"]["annotations"][name])
