"""`pgwarden backup` through a real API server, as a person types it, with the rights that docs/retention.md lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.policies.conftest import POLICY, SERVER, write
from tests.support.cluster import ROOT
from tests.support.place import Body, Place, database_cluster, holds, is_reachable, is_ready, restore
from tests.support.shell import Shell

pytestmark = pytest.mark.timeout(900)

OF_POLICY = ("--policy", POLICY)
OF_STORE = ("--store", "claim", "--cluster", SERVER)


@pytest.fixture(scope="module")
def quiet(protected: Place) -> Iterator[Place]:
    """The policy takes no backup meanwhile: what lies in the store is what the tests put there."""
    protected.patch("backuppolicy", POLICY, {"spec": {"suspend": True}})
    protected.said("backuppolicy", POLICY, "Ready", "Suspended")
    protected.until("backuppolicy", POLICY, lambda body: not body["status"].get("running"))
    yield protected
    protected.patch("backuppolicy", POLICY, {"spec": {"suspend": False}})


@pytest.fixture(scope="module")
def admin(quiet: Place, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell.of(quiet, tmp_path_factory.mktemp("shell"))


@pytest.fixture(scope="module")
def shell(admin: Shell) -> Shell:
    """Of somebody who may do what the documentation lists, and nothing else."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/retention.md").read_text(), re.DOTALL)
    (role,) = (body for body in map(yaml.safe_load, blocks) if body["kind"] == "Role")
    return admin.account("keeper", role["rules"])


def done(shell: Shell, *arguments: str) -> str:
    """What `pgwarden backup` prints when all is well."""
    ended = shell.pgwarden("backup", *arguments)
    assert ended.returncode == 0, f"{arguments}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def failed(shell: Shell, *arguments: str, code: int = 1) -> str:
    """What it says when it fails with that exit code."""
    ended = shell.pgwarden("backup", *arguments)
    assert ended.returncode == code, f"{arguments}: {ended.returncode} {ended.stdout}{ended.stderr}"
    assert "Traceback" not in ended.stderr
    return ended.stderr


def in_store(shell: Shell) -> list[str]:
    """Ids of the backups in the store, oldest first."""
    return [each["backupId"] for each in json.loads(done(shell, "list", *OF_POLICY, "--json"))["backups"]]


def known(place: Place) -> dict[str, Body]:
    """The restorable DatabaseBackups by the ids of their backups; what was asked of them since does not matter."""
    return {body["status"]["backupID"]: body for body in place.list("databasebackups") if is_restorable(body)}


def is_restorable(body: Body) -> bool:
    conditions = body.get("status", {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Restorable", "True") for each in conditions)


def test_backups_are_read_again(quiet: Place, shell: Shell) -> None:
    found = known(quiet)
    assert found
    assert "read and intact" in done(shell, "verify", *found, *OF_POLICY)
    told = json.loads(done(shell, "verify", max(found), *OF_STORE, "--json"))
    assert (told["outcome"], told["report"]["lastCheck"]["passed"]) == ("Succeeded", True)


def test_what_lies_in_the_store_is_listed_for_people_and_for_programs(quiet: Place, shell: Shell) -> None:
    objects = known(quiet)
    lines = done(shell, "list", *OF_POLICY).splitlines()
    assert lines[0].split()[:6] == ["ID", "TYPE", "AGE", "SIZE", "STATE", "CHECKED"]
    for backup_id, body in objects.items():
        (line,) = (line for line in lines if line.startswith(backup_id))
        assert line.split()[1:5:3] == [body["spec"]["type"].lower(), "Restorable"]
        assert body["status"]["size"] in line
        assert "never" not in line
    assert any(line.startswith("recoverable on timeline 1: from ") for line in lines)
    plugin = shell.kubectl("pgwarden", "backup", "list", *OF_STORE, "--namespace", quiet.namespace, "--json")
    assert plugin.returncode == 0, plugin.stderr
    found = json.loads(plugin.stdout)
    assert {each["backupId"] for each in found["backups"]} == set(objects)
    assert (found["troubles"], found["report"]["gapCount"]) == ([], 0)


def test_a_record_is_shown_with_the_commands_that_restore_it(quiet: Place, shell: Shell) -> None:
    backup_id, body = next(iter(known(quiet).items()))
    shown = done(shell, "show", backup_id, *OF_POLICY)
    assert re.search(rf"^system identifier: +{body['status']['systemIdentifier']}$", shown, re.MULTILINE)
    record: dict[str, Any] = json.loads(done(shell, "show", backup_id, *OF_POLICY, "--json"))
    assert record["restoreByHand"]
    assert all(line.strip() in shown for line in record["restoreByHand"])


def test_a_backup_is_taken_now_as_the_policy_takes_its_own(quiet: Place, shell: Shell) -> None:
    said = done(shell, "now", *OF_POLICY)
    name = re.findall(r"^databasebackup.pgwarden.dev/(\S+) created$", said, re.MULTILINE)[0]
    assert re.search(rf"^{name}: .* stored as .*; restorable up to ", said, re.MULTILINE)
    body = quiet.get("databasebackup", name)
    assert (body["spec"]["type"], is_ready(body)) == ("Full", True)
    assert body["spec"]["jobTemplate"]["resources"]["limits"]["memory"] == "512Mi"
    quiet.until("backuppolicy", POLICY, lambda policy: policy["status"]["lastFull"]["name"] == name)
    write(quiet, 100)
    taken = json.loads(done(shell, "now", *OF_STORE, "--type", "incremental", "--json"))
    assert (taken["restorable"], taken["reason"]) == (True, "Completed")
    assert in_store(shell)[-2:] == [body["status"]["backupID"], taken["backupId"]]


def test_what_retention_would_delete_is_told_and_stays(shell: Shell) -> None:
    told = json.loads(done(shell, "prune", *OF_POLICY, "--dry-run", "--json"))
    assert (told["reason"], told["report"]["prune"]["backups"]) == ("PrunePlanned", 0)
    before = [each["backupId"] for each in told["backups"]]
    strict = ("--window", "0s", "--minimum-fulls", "1")
    assert f"would delete {before[0]} of " in done(shell, "prune", *OF_POLICY, "--dry-run", *strict)
    assert "deleted by their BackupPolicy only" in failed(shell, "prune", *OF_POLICY)
    assert in_store(shell) == before


def test_a_backup_that_another_stands_on_does_not_expire(quiet: Place, shell: Shell) -> None:
    by_id = known(quiet)
    child = max(by_id)
    parent = by_id[by_id[child]["status"]["parent"]]["metadata"]["name"]
    for arguments in (("--dry-run",), ()):
        ended = shell.pgwarden("backup", "expire", parent, *arguments)
        assert ended.returncode == 1, ended.stderr
        assert child in ended.stdout
    assert child in in_store(shell)


def test_a_backup_that_nothing_needs_expires_when_that_is_asked_for(quiet: Place, shell: Shell) -> None:
    write(quiet, 100)
    backup_id = json.loads(done(shell, "now", *OF_STORE, "--type", "incremental", "--json"))["backupId"]
    name = known(quiet)[backup_id]["metadata"]["name"]
    assert f"{name}: backup {backup_id} was deleted from the store" in done(shell, "expire", name)
    assert backup_id not in in_store(shell)
    quiet.said("databasebackup", name, "Expired", "Expired")
    assert not is_restorable(quiet.get("databasebackup", name))


def test_a_pin_lies_in_the_store_and_excludes_expiry(quiet: Place, shell: Shell) -> None:
    backup_id, body = min(known(quiet).items())
    name = body["metadata"]["name"]
    assert f"{name}: the store keeps it" in done(shell, "pin", backup_id)
    assert quiet.get("databasebackup", name)["spec"]["pinned"]
    listed = json.loads(done(shell, "list", *OF_POLICY, "--json"))["backups"]
    found = {each["backupId"]: each["pinned"] for each in listed}
    assert [each for each, pinned in found.items() if pinned] == [backup_id]
    expire = ("--type=merge", '--patch={"spec":{"expire":true}}')
    both = shell.kubectl("patch", "databasebackup", name, "--namespace", quiet.namespace, *expire)
    assert both.returncode != 0
    assert "pinned keeps the backup and expire deletes it" in both.stderr
    assert f"{name}: retention lets it go" in done(shell, "unpin", name)
    assert "as it was before" in done(shell, "unpin", backup_id)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--policy", "nobody"), "there is no BackupPolicy nobody in namespace"),
        (("list", "--store", "nobody", "--cluster", SERVER), "there is no BackupStore nobody in namespace"),
        (("list", "--store", "claim", "--cluster", "nobody"), "there is no DatabaseCluster nobody in namespace"),
        (("now", "--store", "claim"), "it takes a cluster and a store to take a backup"),
        (("show", "nothing", *OF_POLICY), "there is no backup nothing"),
        (("import", "nothing", *OF_POLICY), "there is no physical backup nothing in the store"),
    ],
)
def test_a_name_that_leads_nowhere_is_named(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    stderr = failed(shell, *arguments)
    assert said in stderr
    assert "what to do: " in stderr


def test_a_type_that_is_none_is_wrong_usage(shell: Shell) -> None:
    said = failed(shell, "now", *OF_POLICY, "--type", "Weekly", code=2)
    assert all(each in said for each in ("Weekly", "full", "incremental", "logical"))


def test_a_namespace_that_does_not_exist_is_named(admin: Shell, shell: Shell) -> None:
    nowhere = ("list", *OF_POLICY, "--namespace", "test-that-never-was")
    assert "NamespaceNotFound: there is no namespace test-that-never-was" in failed(admin, *nowhere)
    # Who has rights in one namespace only is not told which others there are.
    assert "is forbidden" in failed(shell, *nowhere)


def test_without_the_rights_it_is_said_which_are_missing(quiet: Place, admin: Shell) -> None:
    stranger = admin.account("stranger", [])
    said = failed(stranger, "list", *OF_POLICY)
    assert 'cannot get resource "backuppolicies"' in said
    assert "docs/retention.md" in said
    ours = {"apiGroups": ["pgwarden.dev"], "resources": ["*"], "verbs": ["get", "list"]}
    reader = admin.account("reader", [ours, {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}])
    assert 'cannot create resource "jobs"' in failed(reader, "list", *OF_POLICY)
    assert 'cannot create resource "databasebackups"' in failed(reader, "now", *OF_POLICY)


def test_nothing_is_left_of_the_jobs(quiet: Place) -> None:
    quiet.until(
        "namespace",
        quiet.namespace,
        lambda _: not [job for job in quiet.list("jobs") if "-shell-" in job["metadata"]["name"]],
    )


def test_objects_that_were_deleted_come_back_and_can_be_restored_from(quiet: Place, shell: Shell) -> None:
    before = in_store(shell)
    lost = known(quiet)
    newest = quiet.ask(f"{SERVER}-0", "SELECT max(id) FROM entries", SERVER)
    quiet.kubectl("delete", "databasebackups", "--all")
    # No object tells of any backup, and the store tells of all.
    source = {"clusterRef": {"name": SERVER}, "storeRef": {"name": "claim"}, "target": {"latest": True}}
    quiet.apply(restore("objectless", "", source=source))
    said = done(shell, "import", *OF_POLICY)
    assert said.endswith(f"{len(before)} imported, 0 were there already\n")
    found = known(quiet)
    assert sorted(found) == sorted(before)
    for backup_id, body in found.items():
        told = ("location", "stopLSN", "storedBytes", "systemIdentifier", "parent")
        assert {key: body["status"].get(key) for key in told} == {
            key: lost[backup_id]["status"].get(key) for key in told
        }
    again = json.loads(done(shell, "import", before[-1], *OF_POLICY, "--json"))
    assert again == {"imported": [], "known": [before[-1]]}
    quiet.apply(restore("imported", found[before[-1]]["metadata"]["name"]))
    for name in ("objectless", "imported"):
        quiet.until("restorerequest", name, is_ready)
        password = quiet.secret(f"{name}-superuser")["password"]
        assert quiet.ask(f"{name}-0", "SELECT max(id) FROM entries", SERVER, password=password) == newest


def test_the_archive_of_a_cluster_that_was_made_anew_is_adopted(quiet: Place, shell: Shell) -> None:
    old = quiet.get("databasecluster", SERVER)["metadata"]["uid"]
    quiet.kubectl("delete", "databasecluster", SERVER)
    quiet.said("backuppolicy", POLICY, "Ready", "ClusterNotFound")
    quiet.apply(database_cluster(SERVER))
    quiet.until("databasecluster", SERVER, is_reachable)
    said = failed(shell, "now", *OF_POLICY)
    message = quiet.said("backuppolicy", POLICY, "WALArchiving", "WrongSystem")
    for text in (message, said):
        assert f"belongs to the DatabaseCluster with UID {old}" in text
        (command,) = re.findall(r"kubectl (pgwarden backup adopt .*?--from \S+)", text)
    assert "AdoptionRefused" in failed(shell, "adopt", "--from", "somebody", *OF_POLICY)
    adopted = shell.kubectl(*command.split(), "--json")
    assert adopted.returncode == 0, adopted.stderr
    assert json.loads(adopted.stdout)["reason"] == "Adopted"
    assert "restorable up to" in done(shell, "now", *OF_POLICY)
    assert set(known(quiet)) <= set(in_store(shell))
    quiet.until("backuppolicy", POLICY, holds("WALArchiving"))
