"""`pgwarden backup` against stores that it opens itself: no cluster, credentials from the shell's environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pgwarden.backups.record import BackupRecord
from pgwarden.jobs.files import StoreLocation
from tests.support.archive import ARCHIVE, Archived
from tests.support.backups import take_backup
from tests.support.postgres import PostgresServer
from tests.support.s3 import ACCESS_KEY, SECRET_KEY, S3Server


def pgwarden(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "pgwarden", "backup", *arguments],
        env={**clean, "PYTHONPATH": str(Path("operator").resolve()), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def backed_up(postgres17: PostgresServer, claim: StoreLocation) -> tuple[str, list[BackupRecord]]:
    """A folder with two backups."""
    assert claim.claim is not None
    records = [take_backup(postgres17.address(), claim)[1] for _ in range(2)]
    return claim.claim.path, records


def listed(folder: str) -> dict[str, Any]:
    done = pgwarden("list", "--store", folder, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_folder_is_listed_for_people_and_for_programs(backed_up: tuple[str, list[BackupRecord]]) -> None:
    folder, records = backed_up
    found = listed(folder)
    assert [each["backupId"] for each in found["backups"]] == [record.backup_id for record in records]
    assert {each["state"] for each in found["backups"]} == {"Restorable"}
    assert found["report"]["latest"]["lsn"]
    shown = pgwarden("list", "--store", folder).stdout
    assert shown.splitlines()[0].split()[:2] == ["ID", "TYPE"]
    assert all(record.backup_id in shown for record in records)
    assert "recoverable on timeline 1: from" in shown


def test_a_bucket_is_read_with_the_environments_credentials(postgres17: PostgresServer, s3: S3Server) -> None:
    bucket = s3.new_bucket()
    _, record = take_backup(postgres17.address(), s3.location(bucket, prefix="team/a"))
    place = ["--store", f"s3://{bucket}/team/a", "--ca-file", str(s3.tls.authority)]
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": s3.endpoint}
    done = pgwarden("list", *place, "--json", **keys)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["backups"][0]["backupId"] == record.backup_id
    missing = pgwarden("list", *place, AWS_ENDPOINT_URL=s3.endpoint)
    assert missing.returncode == 1
    assert "AWS_ACCESS_KEY_ID" in missing.stderr
    wrong = pgwarden("list", *place, **{**keys, "AWS_SECRET_ACCESS_KEY": "wrong-secret"})
    assert wrong.returncode != 0
    assert "StoreCredentialsRejected" in wrong.stderr
    assert "wrong-secret" not in wrong.stderr + wrong.stdout


def test_a_record_is_shown_with_its_commands(backed_up: tuple[str, list[BackupRecord]]) -> None:
    folder, (record, _) = backed_up
    shown = pgwarden("show", record.backup_id, "--store", folder)
    assert record.system_identifier in shown.stdout
    assert all(line.strip() in shown.stdout for line in record.restore_by_hand[:5])
    assert json.loads(pgwarden("show", record.backup_id, "--store", folder, "--json").stdout) == json.loads(
        record.to_bytes()
    )
    nothing = pgwarden("show", "nothing", "--store", folder)
    assert (nothing.returncode, "BackupNotFound" in nothing.stderr) == (1, True)


def test_verification_ends_with_1_when_a_byte_has_changed(
    backed_up: tuple[str, list[BackupRecord]], claim: StoreLocation
) -> None:
    folder, (first, second) = backed_up
    assert pgwarden("verify", first.backup_id, second.backup_id, "--store", folder).returncode == 0
    piece = first.archives[-1].objects[0].path
    file = Path(folder) / ARCHIVE / "backups" / first.backup_id / piece
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    done = pgwarden("verify", first.backup_id, "--store", folder)
    assert done.returncode == 1
    assert piece in done.stderr
    assert Archived(claim).states()[first.backup_id] == "CheckFailed"


def test_pruning_is_told_and_not_done(backed_up: tuple[str, list[BackupRecord]], claim: StoreLocation) -> None:
    folder, (first, second) = backed_up
    before = Archived(claim).names()
    done = pgwarden("prune", "--dry-run", "--store", folder, "--window", "0s", "--minimum-fulls", "1")
    assert done.returncode == 0, done.stderr
    assert f"would delete {first.backup_id}" in done.stdout
    assert second.backup_id not in done.stdout
    refused = pgwarden("prune", "--store", folder)
    assert (refused.returncode, "DryRunOnly" in refused.stderr) == (1, True)
    assert Archived(claim).names() == before


def test_an_archive_is_adopted_once(backed_up: tuple[str, list[BackupRecord]], claim: StoreLocation) -> None:
    folder, (record, _) = backed_up
    command = ["adopt", "--store", folder, "--uid", "new-uid"]
    assert "AdoptionRefused" in pgwarden(*command, "--from", "another").stderr
    assert pgwarden(*command, "--from", record.cluster_uid).returncode == 0
    assert pgwarden(*command, "--from", record.cluster_uid).returncode == 0
    binding = json.loads(Archived(claim).store.read_small(f"{ARCHIVE}/archive.0001.json"))
    assert (binding["clusterUid"], binding["adoptedFrom"]) == ("new-uid", record.cluster_uid)


def test_of_several_archives_one_has_to_be_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / "shop" / name / "0001"
        folder.mkdir(parents=True)
        (folder / "archive.json").write_text("{}")
    done = pgwarden("list", "--store", str(tmp_path))
    assert done.returncode == 1
    assert "shop/one, shop/two" in done.stderr
    assert pgwarden("list", "--store", str(tmp_path), "--cluster", "shop/one").stdout.startswith("no backups")


def test_without_a_cluster_a_name_leads_nowhere_and_says_so(tmp_path: Path) -> None:
    nowhere = {"KUBECONFIG": str(tmp_path / "nothing")}
    done = pgwarden("list", "--store", "bucket", "--cluster", "operational", **nowhere)
    assert done.returncode == 1
    assert "NoCluster" in done.stderr
    assert "ArchiveNotNamed" in pgwarden("list", "--store", "bucket", **nowhere).stderr


def test_a_backup_in_a_folder_is_pinned_shown_so_and_unpinned(backed_up: tuple[str, list[BackupRecord]]) -> None:
    folder, records = backed_up
    first = records[0].backup_id
    done = pgwarden("pin", first, "--store", folder)
    assert (done.returncode, done.stdout) == (0, f"backup {first} is pinned: it never expires\n"), done.stderr
    assert pgwarden("pin", first, "--store", folder).stdout.endswith("as it was before\n")
    assert [each["pinned"] for each in listed(folder)["backups"]] == [True, False]
    row = next(line for line in pgwarden("list", "--store", folder).stdout.splitlines() if first in line)
    assert row.rstrip().endswith("pinned")
    shown = pgwarden("show", first, "--store", folder).stdout
    assert [line.split() for line in shown.splitlines() if line.startswith(("pinned", "kept"))] == [
        ["pinned:", "yes"],
        ["kept", "because:", "pinned"],
    ]
    strict = ("--window", "0s", "--minimum-fulls", "1", "--dry-run")
    assert "0 backups" in pgwarden("prune", "--store", folder, *strict).stdout
    assert pgwarden("unpin", first, "--store", folder).returncode == 0
    assert f"would delete {first}" in pgwarden("prune", "--store", folder, *strict).stdout
    missing = pgwarden("pin", "nothing", "--store", folder)
    assert (missing.returncode, "there is no backup nothing" in missing.stderr) == (1, True)
