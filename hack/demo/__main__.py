"""`make demo`: everything from an empty machine to a restored database, and a table of what it took."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from typing import Any

from rich.table import Table

from hack.demo.data import Fingerprint, fingerprints, query
from hack.demo.shell import Demo, DemoError, cluster_environment, condition, fail, is_ready
from hack.demo.stores import bucket_store

NAMESPACE = "pgwarden-demo"
SAMPLES = "manifests/samples"
RESTORED = "operational-restored"


def main() -> int:
    """Runs all steps; 0 when every one of them came to what it should."""
    demo = Demo(NAMESPACE)
    try:
        platform(demo)
        databases(demo)
        migrations(demo)
        back_up(demo)
        before = disaster(demo)
        restore(demo, before)
    except DemoError as error:
        return fail(demo.console, error)
    demo.console.print()
    demo.console.print(demo.table())
    look_around(demo)
    return 0


def platform(demo: Demo) -> None:
    """Cluster, images, chart."""
    with demo.step("Kubernetes cluster"):
        demo.run("hack/cluster/cluster", "up", show=True)
    demo.environment = cluster_environment()
    with demo.step("Images"):
        demo.run("hack/cluster/cluster", "image", show=True)
    with demo.step("Chart") as outcome:
        demo.run(
            *("helm", "upgrade", "--install", "pgwarden", "charts/pgwarden", "--namespace", "pgwarden-system"),
            *("--create-namespace", "--values", "hack/values-dev.yaml", "--take-ownership", "--set", "crds.adopt=true"),
            # Kinds that somebody has applied with kubectl are taken over too.
            "--force-conflicts",
            *("--wait", "--timeout", "3m"),
        )
        # The images carry the same names each time; pods that run older ones have to go.
        demo.run("kubectl", "-n", "pgwarden-system", "rollout", "restart", "deployment/pgwarden")
        demo.run("kubectl", "-n", "pgwarden-system", "rollout", "status", "deployment/pgwarden", "--timeout", "2m")
        outcome.append("pgwarden runs in pgwarden-system")


def databases(demo: Demo) -> None:
    """The two databases, as a platform has them before pgwarden comes."""
    with demo.step("Databases: operational (primary and standby) and analytics") as outcome:
        demo.run("kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout", "120s")
        demo.run("kubectl", "create", "namespace", NAMESPACE)
        demo.run(
            *("kubectl", "label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"),
        )
        demo.kubectl("apply", "--kustomize", f"{SAMPLES}/databases")
        for name in ("operational", "analytics"):
            demo.kubectl("rollout", "status", f"statefulset/{name}", "--timeout", "180s")
        demo.kubectl("apply", "--filename", f"{SAMPLES}/clusters.yaml")
        for name in ("operational", "analytics"):
            body = demo.wait(
                "databasecluster", name, lambda b: condition(b, "Reachable").get("status") == "True", timeout=120
            )
            outcome.append(f"{name} is PostgreSQL {body['status']['version']}")
        demo.kubectl("get", "databaseclusters", show=True)


def migrations(demo: Demo) -> None:
    """Migrations bring schema and data; one fails on purpose, then its fix passes."""
    with demo.step("Migrations: schema and data") as outcome:
        demo.kubectl("apply", "--kustomize", f"{SAMPLES}/migrations")
        demo.kubectl("apply", "--filename", f"{SAMPLES}/migrations.yaml")
        for name in ("operational", "analytics"):
            body = demo.wait("databasemigration", name, is_ready, timeout=180)
            outcome.append(f"{name} at version {body['status']['currentVersion']}")
        demo.kubectl("get", "databasemigrations", show=True)
    with demo.step("A migration that fails") as outcome:
        add_files(demo, "operational-broken")
        body = demo.wait("databasemigration", "operational", is_stalled, timeout=180)
        failed = body["status"]["failed"]
        demo.kubectl("get", "databasemigration", "operational", "--output", "wide", show=True)
        outcome.append(
            f"refused with SQLSTATE {failed['sqlstate']}, database still at {body['status']['currentVersion']}"
        )
    with demo.step("Its fix") as outcome:
        add_files(demo, "operational-fixed")
        body = demo.wait("databasemigration", "operational", is_ready_with("10"), timeout=180, mended=body)
        outcome.append(f"operational at version {body['status']['currentVersion']}")


def add_files(demo: Demo, folder: str) -> None:
    """Puts further migration files into a ConfigMap of their own and names it as a source."""
    created = demo.kubectl(
        *("create", "configmap", "operational-next", f"--from-file={SAMPLES}/migrations/{folder}"),
        *("--dry-run=client", "--output", "yaml"),
    )
    demo.apply(created)
    sources = '[{"configMap": {"name": "operational-migrations"}}, {"configMap": {"name": "operational-next"}}]'
    patch = f'{{"spec": {{"sources": {sources}}}, "metadata": {{"annotations": {{"pgwarden.dev/retry": "{folder}"}}}}}}'
    demo.kubectl("patch", "databasemigration", "operational", "--type", "merge", "--patch", patch)


def is_stalled(body: dict[str, Any]) -> bool:
    """Whether only a person can help."""
    return bool(condition(body, "Stalled").get("status") == "True")


def is_ready_with(version: str) -> Callable[[dict[str, Any]], bool]:
    """Ready, and at that version."""
    return lambda body: is_ready(body) and body["status"].get("currentVersion") == version


def back_up(demo: Demo) -> None:
    """Full backups: to a claim, and encrypted to a bucket."""
    with demo.step("Backup stores: a claim, and an encrypted bucket"):
        demo.kubectl("apply", "--filename", f"{SAMPLES}/backup-store.yaml")
        demo.apply(bucket_store(demo))
        for name in ("claim", "bucket"):
            demo.wait("backupstore", name, is_ready, timeout=120)
    with demo.step("Full backups") as outcome:
        for cluster, store in (("operational", "bucket"), ("analytics", "claim")):
            demo.apply(backup(cluster, store))
        for cluster in ("operational", "analytics"):
            body = demo.wait("databasebackup", f"{cluster}-demo", is_ready, timeout=180)
            outcome.append(f"{cluster}: {body['status']['size']}")
        demo.kubectl("get", "databasebackups", show=True)


def backup(cluster: str, store: str) -> str:
    return f"""
apiVersion: pgwarden.dev/v1alpha1
kind: DatabaseBackup
metadata: {{name: {cluster}-demo}}
spec:
  clusterRef: {{name: {cluster}}}
  storeRef: {{name: {store}}}
"""


def disaster(demo: Demo) -> list[Fingerprint]:
    """Remembers what every table holds, then drops one."""
    with demo.step("Disaster: DROP TABLE api_keys") as outcome:
        before = fingerprints(demo, "operational-0", "operational")
        query(demo, "operational-0", "operational", "DROP TABLE public.api_keys CASCADE")
        after = fingerprints(demo, "operational-0", "operational")
        gone = {each.table for each in before} - {each.table for each in after}
        if gone != {"public.api_keys"}:
            raise DemoError(f"the disaster did not happen as planned: {gone}")
        rows = next(each.rows for each in before if each.table == "public.api_keys")
        outcome.append(f"{rows} rows of public.api_keys are gone")
    return before


def restore(demo: Demo, before: list[Fingerprint]) -> None:
    """Restores the backup side by side, and proves that every table is what it was."""
    with demo.step("Restore into a new instance") as outcome:
        rows = next(each.rows for each in before if each.table == "public.api_keys")
        demo.apply(restore_request(rows))
        body = demo.wait("restorerequest", RESTORED, is_ready, timeout=300)
        demo.kubectl("get", "restorerequests", show=True)
        outcome.append(f"restored to {body['status']['restoredTo']} in {body['status']['durationSeconds']:.0f} s")
    with demo.step("Proof: counts and checksums before and after") as outcome:
        secret = demo.get("secret", f"{RESTORED}-superuser")
        password = base64.b64decode(secret["data"]["password"]).decode()
        after = fingerprints(demo, f"{RESTORED}-0", "operational", password=password)
        table = Table("Table", "Rows", "Checksum before", "Checksum after", "")
        found = {each.table: each for each in after}
        for each in before:
            same = found.get(each.table) == each
            seen = found[each.table].checksum if each.table in found else "missing"
            mark = "[green]same[/green]" if same else "[red]differs[/red]"
            table.add_row(each.table, str(each.rows), each.checksum, seen, mark)
        demo.console.print(table)
        if after != before:
            raise DemoError("the restored data are not what was backed up")
        outcome.append(f"{len(before)} tables, {sum(each.rows for each in before)} rows, all the same")


def restore_request(rows: int) -> str:
    return f"""
apiVersion: pgwarden.dev/v1alpha1
kind: RestoreRequest
metadata: {{name: {RESTORED}}}
spec:
  source: {{backupRef: {{name: operational-demo}}}}
  target:
    newInstance:
      name: {RESTORED}
      storage: {{size: 1Gi}}
  checks:
    - name: every API key is there
      database: operational
      query: SELECT count(*)::text FROM api_keys
      expect: "{rows}"
  requestedBy: make demo
"""


def look_around(demo: Demo) -> None:
    """The commands that show what is there now."""
    demo.console.print("\nThe cluster stays up. To look around:")
    demo.console.print('  eval "$(hack/cluster/cluster env)"')
    demo.console.print(
        f"  kubectl -n {NAMESPACE} get databaseclusters,backupstores,databasemigrations,databasebackups,restorerequests"
    )
    demo.console.print(f"  kubectl -n {NAMESPACE} describe restorerequest {RESTORED}")
    demo.console.print(f"  kubectl -n {NAMESPACE} events")
    demo.console.print("  make cluster-down   # ends the cluster")


if __name__ == "__main__":
    sys.exit(main())
