"""What is wrong with a backup, a key or a volume is said with the object's name before anything is handed over."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyrage
import pytest

from pgwarden.backups.record import read_record
from pgwarden.jobs.files import StoreLocation
from pgwarden.jobs.task import Result
from pgwarden.storage.catalogue_key import new_catalogue_key, read_catalogue_key
from pgwarden.storage.commit import signed
from pgwarden.storage.objects import Packing, read_object, write_object
from pgwarden.storage.store import open_store
from tests.support.filesystem import memory_filesystem
from tests.support.postgres import bin_dir, give_to_server_user, new_folder, owned_folder, postgres_server
from tests.support.restore_pod import RestorePod
from tests.support.stored_backup import claim, store_backup

from .conftest import NewPod, StoredBackup


def refused(pod: RestorePod, reason: str) -> Result:
    """The result of a restore that fails with this reason and leaves no data directory that looks done."""
    result = pod.restore()
    assert (result.outcome, result.reason) == ("Failed", reason), result
    assert result.remedy
    assert not pod.paths.pgdata.exists()
    return result


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_by_one(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_in_half, cut_by_one, alter])
@pytest.mark.parametrize("name", ["base.tar.zst.00000", "base.tar.zst.00003", "backup_manifest.zst"])
def test_a_damaged_object_is_named(
    altered: StoredBackup, new_pod: NewPod, damage: Callable[[Path], None], name: str
) -> None:
    damage(altered.object(name))
    assert name in refused(new_pod(altered), "ObjectDamaged").message


def test_a_missing_object_is_named(altered: StoredBackup, new_pod: NewPod) -> None:
    altered.object("base.tar.zst.00002").unlink()
    assert "base.tar.zst.00002" in refused(new_pod(altered), "ObjectMissing").message


def test_two_objects_that_were_exchanged_are_noticed(altered: StoredBackup, new_pod: NewPod) -> None:
    first, second = (altered.object(f"base.tar.zst.0000{number}") for number in (1, 2))
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    refused(new_pod(altered), "ObjectDamaged")


def test_a_backup_that_was_never_committed_is_not_restored(altered: StoredBackup, new_pod: NewPod) -> None:
    (altered.folder / "backup.json").unlink()
    assert "backup.json" in refused(new_pod(altered), "ObjectMissing").message


@pytest.fixture
def catalogue_keys() -> Iterator[list[Path]]:
    """Two catalogue keys that a pod can read."""
    folder = new_folder()
    for name in ("own", "other"):
        owned_folder(folder / name)
        for part, value in new_catalogue_key().items():
            (folder / name / part).write_text(value)
    give_to_server_user(folder)
    yield [folder / "own", folder / "other"]
    shutil.rmtree(folder)


def signed_backup(backup: StoredBackup, key: Path, known: Path) -> StoredBackup:
    """The backup with a record authenticated by one key, in a store whose key is the other."""
    file = backup.folder / "backup.json"
    file.write_bytes(signed(read_record(file.read_bytes(), "backup.json"), read_catalogue_key(key)))
    return replace(backup, store=backup.store.model_copy(update={"catalogue_key": str(known)}))


@pytest.mark.parametrize("known", [0, 1], ids=["authentic", "of another key"])
def test_a_record_of_this_key_or_of_another_cluster_is_restored(
    altered: StoredBackup, new_pod: NewPod, catalogue_keys: list[Path], known: int
) -> None:
    result = new_pod(signed_backup(altered, catalogue_keys[0], catalogue_keys[known])).restore()
    assert result.outcome == "Succeeded", f"{result.reason}: {result.message}"


def test_a_record_that_was_changed_after_it_was_written_is_refused(
    altered: StoredBackup, new_pod: NewPod, catalogue_keys: list[Path]
) -> None:
    backup = signed_backup(altered, catalogue_keys[0], catalogue_keys[0])
    file = backup.folder / "backup.json"
    content = json.loads(file.read_bytes())
    content["server"]["settings"].append({"name": "max_connections", "source": "x", "value": "1000000"})
    file.write_text(json.dumps(content))
    assert altered.location in refused(new_pod(backup), "RecordForged").message


def change_record(backup: StoredBackup, change: Callable[[dict[str, object]], object]) -> None:
    file = backup.folder / "backup.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


def test_a_backup_with_damaged_pages_is_not_restored(altered: StoredBackup, new_pod: NewPod) -> None:
    change_record(altered, lambda record: record.update(damaged=True, damage="1 page of base/5/1259"))
    assert "base/5/1259" in refused(new_pod(altered), "BackupDamaged").message


def test_a_tablespace_that_is_missing_from_the_backup_is_noticed(altered: StoredBackup, new_pod: NewPod) -> None:
    def leave_out_a_tablespace(record: dict[str, object]) -> None:
        archives = record["archives"]
        assert isinstance(archives, list)
        record["archives"] = [archive for archive in archives if "tablespaceOid" not in archive]

    change_record(altered, leave_out_a_tablespace)
    refused(new_pod(altered), "TablespacesDiffer")


def test_another_systems_record_is_noticed(altered: StoredBackup, new_pod: NewPod) -> None:
    change_record(altered, lambda record: record.update(systemIdentifier="1234567890"))
    assert "1234567890" in refused(new_pod(altered), "WrongSystemIdentifier").message


def test_a_file_that_the_manifest_does_not_know_is_noticed(altered: StoredBackup, new_pod: NewPod) -> None:
    """Whoever can write into the store can make a record that fits; the manifest then still names every file."""
    slip_in_a_file(altered)
    assert "slipped_in" in refused(new_pod(altered), "VerificationFailed").message


def slip_in_a_file(backup: StoredBackup) -> None:
    """Replaces the tablespace's archive by one with one more file, and the record's checksums with it."""
    store = open_store(backup.store)
    record = json.loads((backup.folder / "backup.json").read_text())
    archive = next(archive for archive in record["archives"] if "tablespaceOid" in archive)
    plain = b"".join(b"".join(read_object(store, f"{backup.location}/{piece['path']}")) for piece in archive["objects"])
    changed = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(plain)) as before, tarfile.open(fileobj=changed, mode="w") as after:
        for member in before:
            after.addfile(member, before.extractfile(member) if member.isfile() else None)
        extra = tarfile.TarInfo("slipped_in")
        extra.size = 5
        after.addfile(extra, io.BytesIO(b"hello"))
    path = "attempt-1-replaced/1.tar.zst.00000"
    written = write_object(store, f"{backup.location}/{path}", [changed.getvalue()], Packing())
    piece = {"path": path, "offset": 0, "startsMember": True}
    piece |= {"plainBytes": written.plain_bytes, "plainSha256": written.plain_sha256}
    piece |= {"storedBytes": written.stored_bytes, "storedSha256": written.stored_sha256}
    archive["objects"] = [piece]
    archive["plainBytes"] = written.plain_bytes
    (backup.folder / "backup.json").write_text(json.dumps(record))
    give_to_server_user(backup.folder)


@pytest.fixture(scope="module")
def encrypted(major: int, stored: StoredBackup) -> Iterator[tuple[StoredBackup, pyrage.x25519.Identity]]:
    """The same server's kind of backup, encrypted."""
    identity = pyrage.x25519.Identity.generate()
    folder = new_folder()
    with postgres_server(major) as server:
        server.execute("CREATE TABLE secrets AS SELECT 42 AS answer")
        store = claim(owned_folder(folder / "store"), recipients=[str(identity.to_public())])
        location = store_backup(server, store)
    yield StoredBackup(major, store, location, stored.load, folder, ""), identity


def identity_file(folder: Path, identity: pyrage.x25519.Identity) -> Path:
    file = owned_folder(folder) / "identity"
    file.write_text(f"# created: today\n{identity}\n")
    file.chmod(0o644)
    return file


def with_identity(backup: StoredBackup, file: Path | None) -> StoredBackup:
    store = StoreLocation(claim=backup.store.claim, identity_file=str(file) if file else None)
    return StoredBackup(backup.major, store, backup.location, backup.load, backup.tablespace, "")


def test_an_encrypted_backup_is_restored_with_its_identity(
    encrypted: tuple[StoredBackup, pyrage.x25519.Identity], new_pod: NewPod, volume: Path
) -> None:
    backup, identity = encrypted
    assert b"secrets" not in b"".join(path.read_bytes() for path in backup.folder.rglob("*.age"))
    pod = new_pod(with_identity(backup, identity_file(volume.parent / "keys", identity)))
    pod.run()
    with pod.instance() as instance:
        assert instance.query("SELECT answer FROM secrets") == 42


def test_the_wrong_identity_is_told_apart_from_damage(
    encrypted: tuple[StoredBackup, pyrage.x25519.Identity], new_pod: NewPod, volume: Path
) -> None:
    other = identity_file(volume.parent / "keys", pyrage.x25519.Identity.generate())
    result = refused(new_pod(with_identity(encrypted[0], other)), "WrongIdentity")
    assert "AGE-SECRET-KEY" not in result.model_dump_json()


def test_an_encrypted_backup_without_identity_says_which_secret_is_missing(
    encrypted: tuple[StoredBackup, pyrage.x25519.Identity], new_pod: NewPod
) -> None:
    refused(new_pod(with_identity(encrypted[0], None)), "IdentityMissing")


def test_a_volume_that_is_too_small_is_refused_before_anything_is_fetched(stored: StoredBackup) -> None:
    with memory_filesystem("size=40m") as volume:
        pod = RestorePod(stored.major, volume, stored.store, stored.location)
        try:
            result = refused(pod, "VolumeTooSmall")
            assert re.search(r"needs [0-9.]+Mi on .*, which has [0-9.]+Mi free", result.message)
            assert not any(pod.paths.data.iterdir())
        finally:
            pod.destroy()


def test_a_volume_with_too_few_inodes_is_refused_before_anything_is_fetched(stored: StoredBackup) -> None:
    with memory_filesystem("size=2g,nr_inodes=300") as volume:
        pod = RestorePod(stored.major, volume, stored.store, stored.location)
        try:
            assert "inodes" in refused(pod, "VolumeTooSmall").message
            assert not pod.paths.manifest.exists()
        finally:
            pod.destroy()


def test_a_volume_that_runs_full_meanwhile_is_told(altered: StoredBackup) -> None:
    """Bytes enough, but files too many, and a record that says otherwise: only seen when one can't be made."""
    record = json.loads((altered.folder / "backup.json").read_text()) | {"manifestFiles": 1}
    (altered.folder / "backup.json").write_text(json.dumps(record))
    with memory_filesystem("size=2g,nr_inodes=300") as volume:
        pod = RestorePod(altered.major, volume, altered.store, altered.location)
        try:
            assert "ran full" in refused(pod, "VolumeFull").message
        finally:
            pod.destroy()


def test_another_requests_volume_is_left_as_it_is(stored: StoredBackup, new_pod: NewPod) -> None:
    first = new_pod(stored)
    assert first.restore().outcome == "Succeeded"
    before = {str(path): path.lstat().st_mtime_ns for path in first.paths.data.rglob("*")}
    second = new_pod(stored, request_uid="7c1d1a5e-0000-4000-8000-000000000002")
    assert refused(second, "VolumeOfAnotherRequest").retryable is False
    assert {str(path): path.lstat().st_mtime_ns for path in first.paths.data.rglob("*")} == before
    assert second.recover().reason == "VolumeOfAnotherRequest"


def test_data_of_an_instance_that_is_there_are_never_replaced(stored: StoredBackup, new_pod: NewPod) -> None:
    pod = new_pod(stored)
    owned_folder(pod.paths.pgdata)
    (pod.paths.pgdata / "PG_VERSION").write_text("18\n")
    result = pod.restore()
    assert result.reason == "TargetNotEmpty"
    assert (pod.paths.pgdata / "PG_VERSION").read_text() == "18\n"


def test_tools_of_another_major_are_refused(stored: StoredBackup, new_pod: NewPod) -> None:
    pod = new_pod(stored, agent_major=17 if stored.major == 18 else 18)
    assert f"images.agent.{stored.major}" in refused(pod, "AgentImageMismatch").remedy


def test_a_server_of_another_major_is_never_started_on_the_data(stored: StoredBackup, new_pod: NewPod) -> None:
    pod = new_pod(stored)
    pod.restore()
    other = bin_dir(17 if stored.major == 18 else 18)
    server = pod.start_server(path=f"{other}:/usr/bin:/bin")
    recovered = pod.recover()
    assert recovered.reason == "ServerImageMismatch"
    assert server.wait() == 0
    assert not (pod.paths.data / "postmaster.opts").exists()


def test_an_image_without_postgresql_is_told(stored: StoredBackup, new_pod: NewPod) -> None:
    pod = new_pod(stored)
    pod.restore()
    server = pod.start_server(path="/usr/bin:/bin")
    recovered = pod.recover()
    assert recovered.reason == "ServerImageMismatch"
    assert "no program named postgres" in recovered.message
    assert server.wait() == 0


def test_recovery_without_a_laid_out_backup_is_refused(stored: StoredBackup, new_pod: NewPod) -> None:
    assert new_pod(stored).recover().reason == "NothingLaidOut"
