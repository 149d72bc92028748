"""The kinds of object the operator touches, and what it does with each.

This table is the only source of the operator's RBAC: the chart's roles are generated from it, and the client refuses
a call that the table does not list, so that table, roles and code cannot drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgwarden.api.model import GROUP, VERSION, Resource
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.migrations.resource import DatabaseMigration
from pgwarden.policies.resource import BackupPolicy
from pgwarden.restores.resource import RestoreRequest
from pgwarden.stores.resource import BackupStore


@dataclass(frozen=True)
class ResourceType:
    """One kind of object at one version, the verbs the operator needs on it, and what for."""

    group: str
    version: str
    plural: str
    kind: str
    verbs: frozenset[str]
    why: str
    subresources: tuple[tuple[str, frozenset[str]], ...] = ()
    """Subresources with their verbs, for example ("log", {"get"})."""
    operator_namespace_only: bool = False
    """Whether the verbs are needed in the operator's own namespace only."""
    admission_only: bool = False
    """Whether the verbs are needed where the chart brings an admission policy, on objects of that name."""
    in_place_verbs: frozenset[str] = frozenset()
    """Verbs that only restores in place need, which the chart's values can switch off."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of a collection (no name), an object, or a subresource of it."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if namespace is not None:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)

    def allows(self, verb: str, subresource: str | None = None) -> bool:
        """Whether the table lists this verb."""
        if subresource is None:
            return verb in self.verbs | self.in_place_verbs
        return any(name == subresource and verb in verbs for name, verbs in self.subresources)


def verbs(*names: str) -> frozenset[str]:
    return frozenset(names)


def own(resource: type[Resource], why: str, *more: str) -> ResourceType:
    """A kind of ours: read and watched, its status written, its spec never; `more` for those that we make ourselves."""
    return ResourceType(
        group=GROUP,
        version=VERSION,
        plural=resource.INFO.plural,
        kind=resource.INFO.kind,
        verbs=verbs("get", "list", "watch", *more),
        subresources=(("status", verbs("patch")),),
        why=why,
    )


OWN_KINDS: tuple[type[Resource], ...] = (
    DatabaseCluster,
    BackupStore,
    BackupPolicy,
    DatabaseMigration,
    DatabaseBackup,
    RestoreRequest,
)

DATABASE_CLUSTERS = own(DatabaseCluster, "what is looked after; made for the new instance of a restore", "create")
BACKUP_STORES = own(BackupStore, "where backups live")
DATABASE_MIGRATIONS = own(DatabaseMigration, "migrations that are wanted")
BACKUP_POLICIES = own(BackupPolicy, "when backups are wanted, and what is kept")
DATABASE_BACKUPS = own(
    DatabaseBackup,
    "backups that are wanted; made for a policy at its times, deleted when nobody needs the object any more",
    "create",
    "delete",
)
RESTORE_REQUESTS = own(
    RestoreRequest,
    "restores that are wanted; drills are made for a policy at its times, and deleted but for the last few",
    "create",
    "delete",
)

JOBS = ResourceType(
    "batch",
    "v1",
    "jobs",
    "Job",
    verbs("get", "list", "watch", "create", "patch", "delete"),
    "every task is a Job; patched once to give a finished one its time to live, deleted when cancelled",
)
PODS = ResourceType(
    "",
    "v1",
    "pods",
    "Pod",
    verbs("list", "watch", "patch"),
    "how a Job's pod ended stands in its status; the last lines of its log tell progress; annotated to tell a restore"
    " that waits to be looked at to go on",
    subresources=(("log", verbs("get")),),
)
SECRETS = ResourceType(
    "",
    "v1",
    "secrets",
    "Secret",
    verbs("get", "create"),
    "read by name to tell a missing Secret or key; created for a store's catalogue key, and for the superuser of a"
    " restored instance",
)
CONFIG_MAPS = ResourceType(
    "",
    "v1",
    "configmaps",
    "ConfigMap",
    verbs("get", "create", "patch"),
    "read by name for migration files; written for the monitor's list of servers, the archivers' settings and the"
    " reports of restores",
)
EVENTS = ResourceType(
    "events.k8s.io",
    "v1",
    "events",
    "Event",
    verbs("create", "list"),
    "tells people what happened; listed to learn why a Job got no pod",
)
LEASES = ResourceType(
    "coordination.k8s.io",
    "v1",
    "leases",
    "Lease",
    verbs("get", "create", "update"),
    "one operator works, the others stand by",
    operator_namespace_only=True,
)
DEPLOYMENTS = ResourceType(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    verbs("get", "create", "patch", "delete"),
    "the monitor of each namespace with a DatabaseCluster, and the WAL archivers",
)
STATEFUL_SETS = ResourceType(
    "apps",
    "v1",
    "statefulsets",
    "StatefulSet",
    verbs("get", "create"),
    "read for the image and user of a cluster's server; created for a restored instance; stopped and started again when"
    " data are replaced",
    in_place_verbs=verbs("patch"),
)
CRON_JOBS = ResourceType(
    "batch",
    "v1",
    "cronjobs",
    "CronJob",
    verbs(),
    "stopped and started again when the data of the cluster that they use are replaced",
    in_place_verbs=verbs("get", "patch"),
)
AUTOSCALERS = ResourceType(
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    verbs(),
    "whether one would start a server again whose data are being replaced",
    in_place_verbs=verbs("list"),
)
SERVICES = ResourceType(
    "",
    "v1",
    "services",
    "Service",
    verbs("get", "create", "patch", "delete"),
    "the address of the monitor, of an archiver, and of a restored instance",
)
CLAIMS = ResourceType(
    "",
    "v1",
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    verbs("get", "create"),
    "read to tell a missing claim; created for a restored instance; marked while its data are replaced",
    in_place_verbs=verbs("patch"),
)
NETWORK_POLICIES = ResourceType(
    "networking.k8s.io",
    "v1",
    "networkpolicies",
    "NetworkPolicy",
    verbs("get", "create"),
    "a copy that is being recovered may reach the store and nothing else",
)
ADMISSION_POLICIES = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    verbs("get"),
    "whether who asked for a restore was compared with who made the request",
    admission_only=True,
)
ADMISSION_BINDINGS = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    verbs("get"),
    "likewise",
    admission_only=True,
)
ALL: tuple[ResourceType, ...] = (
    DATABASE_CLUSTERS,
    BACKUP_STORES,
    BACKUP_POLICIES,
    DATABASE_MIGRATIONS,
    DATABASE_BACKUPS,
    RESTORE_REQUESTS,
    JOBS,
    PODS,
    SECRETS,
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    DEPLOYMENTS,
    STATEFUL_SETS,
    CRON_JOBS,
    AUTOSCALERS,
    SERVICES,
    CLAIMS,
    NETWORK_POLICIES,
    ADMISSION_POLICIES,
    ADMISSION_BINDINGS,
)
