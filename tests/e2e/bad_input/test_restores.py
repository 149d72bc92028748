"""A restore that cannot be done says why, names what is wrong, and makes no instance."""

from __future__ import annotations

import pytest

from tests.support.place import Body, Place, backup, condition, is_ready, is_stalled, restore, thing

pytestmark = pytest.mark.timeout(600)

BACKUPS = {"truncated": "shelf", "altered": "shelf", "sealed": "sealed"}
# name: (RestoreRequest, reason, what the message must say)
FIND = 'object=$(find "$0" -name base.tar.zst.00000); test -s "$object"; chmod u+w "$object"'
CUT = 'truncate --size=1000000 "$object"'
CHANGE = "printf 'x' | dd of=\"$object\" bs=1 seek=100000 conv=notrunc status=none"
IMAGE = {"name": "imageless", "image": "localhost/not-there:1", "storage": {"size": "512Mi"}}
CHECK = {"name": "nobody is missing", "database": "postgres", "query": "SELECT 'two'", "expect": "three"}


def requests() -> dict[str, tuple[Body, str, tuple[str, ...]]]:
    other = {"name": "other-identity", "key": "identity"}
    absent = {"name": "no-identity", "key": "identity"}
    return {
        "from-truncated": (
            restore("from-truncated", "truncated", size="512Mi"),
            "ObjectDamaged",
            ("base.tar.zst.00000", "store", "Use another backup"),
        ),
        "from-altered": (
            restore("from-altered", "altered", size="512Mi"),
            "ObjectDamaged",
            ("base.tar.zst.00000", "store", "Use another backup"),
        ),
        "wrong-identity": (
            restore("wrong-identity", "sealed", size="512Mi", identity=other),
            "WrongIdentity",
            (".age", "encrypted to other recipients", "identity"),
        ),
        "identity-absent": (
            restore("identity-absent", "sealed", size="512Mi", identity=absent),
            "SecretMissing",
            ("Secret {namespace}/no-identity (age identity)", "does not exist"),
        ),
        "name-taken": (
            restore("name-taken", "sealed", instance="sound", size="512Mi"),
            "NameTaken",
            ("the name sound is taken", "StatefulSet sound", "Choose another name in a new RestoreRequest"),
        ),
        "backup-absent": (
            restore("backup-absent", "not-there"),
            "BackupNotFound",
            ("no DatabaseBackup not-there in this namespace", "new RestoreRequest"),
        ),
        "from-dump": (
            restore("from-dump", "dump"),
            "BackupIsLogical",
            ("DatabaseBackup dump is a logical backup", "pg_restore", "backup show", "--store shelf --cluster sound"),
        ),
        "check-fails": (
            restore("check-fails", "sealed", size="512Mi", checks=[CHECK]),
            "CheckFailed",
            ("'nobody is missing'", "two", "three"),
        ),
        "imageless": (
            thing("RestoreRequest", "imageless", restore("x", "sealed")["spec"] | {"target": {"newInstance": IMAGE}}),
            "ImageNotFound",
            ("container postgres", "localhost/not-there:1", "newInstance.image"),
        ),
    }


REQUESTS = requests()


@pytest.fixture(scope="module")
def broken(place: Place) -> Place:
    """Three backups, of which two lose their integrity in the store, and all requests at once."""
    place.apply(*(backup(name, "sound", store) for name, store in BACKUPS.items()))
    # It is refused for what it is, not for what becomes of it.
    place.apply(backup("dump", "sound", "shelf", type="Logical", suspend=True))
    found = {name: place.until("databasebackup", name, is_ready) for name in BACKUPS}
    for name, script in (("truncated", CUT), ("altered", CHANGE)):
        folder = f"/store/plain/{found[name]['status']['location']}"
        place.kubectl("exec", "shell", "--", "sh", "-ec", f"{FIND}; {script}", folder)
    place.apply(*(manifest for manifest, _, _ in REQUESTS.values()))
    return place


@pytest.mark.parametrize("name", REQUESTS)
def test_each_restore_that_cannot_be_done_says_why_and_makes_no_instance(broken: Place, name: str) -> None:
    _, reason, parts = REQUESTS[name]
    message = broken.said("restorerequest", name, "Ready", reason)
    for part in parts:
        assert part.format(namespace=broken.namespace) in message, message
    sets = {each["metadata"]["name"] for each in broken.list("statefulsets")}
    assert name not in sets


def test_the_failed_step_is_marked(broken: Place) -> None:
    broken.said("restorerequest", "from-altered", "Stalled", "ObjectDamaged")
    steps = broken.get("restorerequest", "from-altered")["status"]["steps"]
    failed = [step for step in steps if step["state"] == "Failed"]
    assert [step["name"] for step in failed] == ["Fetch"]
    assert "base.tar.zst.00000" in failed[0]["message"]


def test_an_encrypted_backup_without_identity_is_refused_until_one_is_named(broken: Place) -> None:
    recipients = broken.get("backupstore", "sealed")["spec"]["encryption"]["recipients"]
    broken.patch("backupstore", "sealed", {"spec": {"encryption": {"recipients": recipients, "identity": None}}})
    broken.apply(restore("identityless", "sealed", size="512Mi"))
    message = broken.said("restorerequest", "identityless", "Ready", "IdentityMissing")
    assert "DatabaseBackup sealed is encrypted and no identity is named" in message
    assert "set spec.identity" in message
    identity = {"name": "identity", "key": "identity"}
    broken.patch("backupstore", "sealed", {"spec": {"encryption": {"identity": identity}}})
    broken.until("restorerequest", "identityless", is_ready)


def test_a_cancelled_restore_ends_and_says_what_is_left(broken: Place) -> None:
    broken.said("restorerequest", "imageless", "Ready", "ImageNotFound")
    broken.patch("restorerequest", "imageless", {"spec": {"cancel": True}})
    body = broken.until("restorerequest", "imageless", is_stalled)
    message = condition(body, "Stalled")["message"]
    assert "claim data-imageless-0" in message and "Secret imageless-superuser" in message

    def gone(_: Body) -> bool:
        uid = body["metadata"]["uid"]
        return not broken.list("jobs", f"--selector=pgwarden.dev/owner-uid={uid},pgwarden.dev/operation=restore")

    broken.until("restorerequest", "imageless", gone)
