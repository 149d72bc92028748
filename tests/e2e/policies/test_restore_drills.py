"""Drills of a policy and by hand: made at their times, measured, checked, and nothing is left of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pyrage
import pytest

from tests.e2e.policies.conftest import EVERY_MINUTE, MINE, POLICY, SERVER, YEARLY, policy
from tests.support.place import MODEST, Body, Place, condition, is_ready, store
from tests.support.shell import Shell

pytestmark = pytest.mark.timeout(900)

SECONDS = 400
CHECK = {"name": "entries", "database": SERVER, "query": "SELECT count(*) > 0 FROM entries", "expect": "t"}
DRILL: Body = {**EVERY_MINUTE, "keepLast": 2, "checks": [CHECK], **MODEST, "storage": {"size": "1Gi"}}
LEFT = "statefulsets,services,secrets,persistentvolumeclaims,jobs,pods"


def drills(place: Place) -> list[Body]:
    """The policy's drills, oldest first."""
    found = place.list("restorerequests", "--selector", MINE)
    return sorted(found, key=lambda body: str(body["metadata"]["creationTimestamp"]))


def drill_of(body: Body) -> Body:
    found: Body = body.get("status", {}).get("drill") or {}
    return found


@pytest.fixture(scope="module")
def drilled(protected: Place) -> Iterator[Place]:
    """The policy makes a drill every minute."""
    protected.patch("backuppolicy", POLICY, {"spec": {"drill": DRILL}})
    yield protected
    protected.patch("backuppolicy", POLICY, {"spec": {"drill": None}})


def test_a_drill_is_made_and_tells_how_long_a_restore_takes_and_what_is_lost(drilled: Place) -> None:
    body = drilled.until("backuppolicy", POLICY, lambda body: "lastSuccess" in drill_of(body), seconds=SECONDS)
    good = drill_of(body)["lastSuccess"]
    assert good["recoverySeconds"] > 0
    assert 0 <= good["dataLossSeconds"] < 600
    assert condition(body, "LastDrillSucceeded")["status"] == "True"
    assert condition(body, "DrillsPossible")["status"] == "True"
    assert body["status"]["objectives"]["measuredLossSeconds"] >= 0
    assert "LAST DRILL" in drilled.kubectl("get", "bkp", POLICY).splitlines()[0]
    made = drilled.get("restorerequest", good["name"])
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("BackupPolicy", POLICY)
    assert {step["name"]: step["state"] for step in made["status"]["steps"]}["Amcheck"] == "Done"
    # Databases, extensions, collations, amcheck, checksums, and that of the policy.
    assert made["status"]["checksPassed"] == 6


def test_nothing_is_left_of_a_drill_that_went_well(drilled: Place) -> None:
    good = drilled.until("backuppolicy", POLICY, lambda body: "lastSuccess" in drill_of(body), seconds=SECONDS)
    uid = drilled.get("restorerequest", drill_of(good)["lastSuccess"]["name"])["metadata"]["uid"]
    selector = f"pgwarden.dev/owner-uid={uid}"
    drilled.until("backuppolicy", POLICY, lambda _: not drilled.list(LEFT, "--selector", selector))


def test_the_last_few_are_kept(drilled: Place) -> None:
    drilled.until("backuppolicy", POLICY, lambda body: len(drill_of(body).get("history", [])) == 2, seconds=SECONDS)
    seen = {body["metadata"]["name"] for body in drills(drilled)}
    drilled.until(
        "backuppolicy", POLICY, lambda _: len({body["metadata"]["name"] for body in drills(drilled)} - seen) >= 2,
        seconds=SECONDS,
    )  # fmt: skip
    ended = [body for body in drills(drilled) if is_ready(body)]
    assert len(ended) <= 3
    assert "the median of the" in drill_of(drilled.get("backuppolicy", POLICY))["trend"]


def test_a_drill_that_fails_is_told_and_holds_up_no_backup(drilled: Place) -> None:
    wrong = {**CHECK, "expect": "f"}
    drilled.patch("backuppolicy", POLICY, {"spec": {"drill": {"checks": [wrong]}}})
    message = drilled.said("backuppolicy", POLICY, "LastDrillSucceeded", "CheckFailed", seconds=SECONDS)
    assert "check 'entries' failed" in message
    before = drilled.get("backuppolicy", POLICY)["status"]["lastIncremental"]["time"]
    drilled.ask(f"{SERVER}-0", "INSERT INTO entries VALUES (500)", SERVER)
    body = drilled.until(
        "backuppolicy", POLICY, lambda body: body["status"]["lastIncremental"]["time"] > before, seconds=SECONDS
    )
    assert condition(body, "Ready")["reason"] == "InForce"
    drilled.patch("backuppolicy", POLICY, {"spec": {"drill": {"checks": [CHECK]}}})
    drilled.said("backuppolicy", POLICY, "LastDrillSucceeded", "Succeeded", seconds=SECONDS)


def test_a_person_makes_one_and_sees_its_steps(protected: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    protected.patch("backuppolicy", POLICY, {"spec": {"drill": None}})
    shell = Shell.of(protected, tmp_path_factory.mktemp("shell"))
    ended = shell.pgwarden("restore", "drill", "--policy", POLICY)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    (name,) = re.findall(r"^restorerequest.pgwarden.dev/(\S+) created$", ended.stdout, re.MULTILINE)
    told = [line.split()[0] for line in lines[1:-1]]
    assert told[0] == "Resolve" and told[-1] == "VerifyFiles" and "Amcheck" in told
    assert re.match(rf"{name}: the drill came to \S+ and passed \d+ checks: a restore takes ", lines[-1])
    body = protected.until("backuppolicy", POLICY, lambda body: drill_of(body).get("last", {}).get("name") == name)
    assert condition(body, "LastDrillSucceeded")["status"] == "True"
    asked = shell.pgwarden("restore", "drill", "--policy", POLICY, "--at", "2020-01-01T00:00:00Z", "--json")
    assert asked.returncode == 1
    refused = json.loads(asked.stdout)
    assert (refused["succeeded"], refused["reason"]) == (False, "TargetBeforeFirstBackup")


def test_what_cannot_be_decrypted_makes_no_drills(protected: Place) -> None:
    """Whoever holds the identity is not here."""
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    sealed = store("sealed", claim={"name": "backups"}, prefix="sealed", encryption={"recipients": [recipient]})
    schedules = {"full": YEARLY}
    protected.apply(sealed, policy("sealed", storeRef={"name": "sealed"}, schedules=schedules, wal={}, drill=DRILL))
    message = protected.said("backuppolicy", "sealed", "DrillsPossible", "IdentityMissing")
    assert "encryption.identity of BackupStore sealed" in message
    body = protected.until("backuppolicy", "sealed", lambda body: "no identity" in drill_of(body).get("waiting", ""))
    assert not drill_of(body).get("running")
    protected.kubectl("delete", "backuppolicy,backupstore", "sealed")
