"""The DatabaseBackups and drills that a policy makes, and the Job that looks after its archive. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pgwarden.api.model import API_VERSION
from pgwarden.catalogue.contract import CatalogueTask, VerifySettings, What
from pgwarden.clusters.access import archive_identity
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.launch import Launch
from pgwarden.jobs.names import MANAGED_BY, MANAGED_BY_LABEL, OWNER_UID_LABEL, label_value
from pgwarden.jobs.render import Manifest, Owner, render
from pgwarden.policies.access import retention_settings
from pgwarden.policies.drill_resource import DrillPlan
from pgwarden.policies.drills import DrillTurn
from pgwarden.policies.resource import BackupPolicy
from pgwarden.policies.runs import POLICY_LABEL, REASON_ANNOTATION, SCHEDULED_TIME_ANNOTATION, TYPE_LABEL, RunType
from pgwarden.policies.turns import Turn
from pgwarden.stores.access import location, mounts, volumes
from pgwarden.stores.resource import BackupStore


def backup(policy: BackupPolicy, turn: Turn) -> Manifest:
    """The DatabaseBackup of a turn."""
    spec = policy.spec
    wanted: dict[str, Any] = {
        "clusterRef": spec.cluster_ref.to_json(),
        "storeRef": spec.store_ref.to_json(),
        "type": turn.type.value,
        "compression": spec.compression.to_json(),
        "jobTemplate": spec.job_template.to_json(),
    }
    if turn.type.physical:
        wanted |= {"from": spec.from_.value, "maxRateKiB": spec.max_rate_kib}
    if turn.type is RunType.LOGICAL and spec.logical is not None:
        wanted["logical"] = spec.logical.to_json()
    if turn.type is RunType.INCREMENTAL and turn.parent:
        wanted["parent"] = turn.parent
    return render(
        "policies/backup.yaml.j2",
        api_version=API_VERSION,
        name=turn.name,
        namespace=policy.metadata.namespace,
        labels=labels_of(policy, turn.type),
        annotations=annotations_of(turn),
        owner=Owner.of(policy).reference(),
        spec=wanted,
    )


def labels_of(policy: BackupPolicy, type_: RunType) -> dict[str, str]:
    """The labels by which a DatabaseBackup is one of the policy's, whoever has made it."""
    return {
        MANAGED_BY_LABEL: MANAGED_BY,
        OWNER_UID_LABEL: policy.metadata.uid,
        POLICY_LABEL: label_value(policy.metadata.name),
        TYPE_LABEL: type_.value.lower(),
    }


def drill(policy: BackupPolicy, wanted: DrillPlan, turn: DrillTurn) -> Manifest:
    """The RestoreRequest of a drill."""
    template = wanted.job_template if wanted.job_template is not None else policy.spec.job_template
    target = {"image": wanted.image, "storage": wanted.storage.to_json()}
    if wanted.resources is not None:
        target["resources"] = wanted.resources.to_json()
    spec: dict[str, Any] = {
        "source": turn.source,
        "target": {"drill": {key: value for key, value in target.items() if value is not None}},
        "checks": [check.to_json() for check in wanted.checks],
        "jobTemplate": template.to_json(),
    }
    if wanted.identity is not None:
        spec["identity"] = wanted.identity.to_json()
    return render(
        "policies/drill.yaml.j2",
        api_version=API_VERSION,
        name=turn.name,
        namespace=policy.metadata.namespace,
        labels={
            MANAGED_BY_LABEL: MANAGED_BY,
            OWNER_UID_LABEL: policy.metadata.uid,
            POLICY_LABEL: label_value(policy.metadata.name),
        },
        annotations=annotations_of(turn),
        owner=Owner.of(policy).reference(),
        spec=spec,
    )


def annotations_of(turn: Turn | DrillTurn) -> dict[str, str]:
    """When it was due, and why it is not what the policy says."""
    due = {SCHEDULED_TIME_ANNOTATION: f"{turn.slot.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    return {**due, REASON_ANNOTATION: turn.why} if turn.why else due


def look(
    policy: BackupPolicy,
    cluster: DatabaseCluster,
    store: BackupStore,
    what: What,
    now: datetime,
    launch: Launch,
    *,
    live: Sequence[str],
    in_use: Sequence[str],
    pinned: Sequence[str],
) -> Manifest:
    """The Job that looks after the archive; the operator's own image will do."""
    verification = policy.spec.verification
    payload = CatalogueTask(
        what=what,
        archive=archive_identity(cluster, store.metadata.name),
        store=location(store, catalogue_key=True),
        now=now,
        retention=retention_settings(policy.spec.retention),
        live=list(live),
        in_use=list(in_use),
        pinned=list(pinned),
        verify=VerifySettings(at_most=verification.backups, max_rate_kib=verification.max_rate_kib),
    )
    return launch.job(
        Owner.of(policy),
        payload,
        policy.spec.job_template,
        cluster=cluster.metadata.name,
        system_identifier=cluster.status.system_identifier,
        volumes=volumes(store, catalogue_key=True),
        mounts=mounts(store, catalogue_key=True),
    )
