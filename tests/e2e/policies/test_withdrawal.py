"""What is left when a policy is deleted: comes last in this folder, as it takes the policy of the others away."""

from __future__ import annotations

import pytest

from tests.e2e.policies.conftest import MINE, POLICY, SERVER, archivers, policy
from tests.support.place import Place

pytestmark = pytest.mark.timeout(600)


def test_deleting_the_policy_takes_its_objects_along_and_leaves_the_archive(protected: Place) -> None:
    slot = protected.get("backuppolicy", POLICY)["status"]["wal"]["slot"]
    full = protected.get("backuppolicy", POLICY)["status"]["lastFull"]["name"]
    location = protected.get("databasebackup", full)["status"]["location"]
    protected.kubectl("delete", "backuppolicy", POLICY, "--cascade=foreground", "--timeout=180s")
    # What was just being made when the policy went has no owner, and is collected a moment later.
    here = protected.namespace
    protected.until("namespace", here, lambda _: not protected.list("databasebackups", "--selector", MINE))
    protected.until("namespace", here, lambda _: not archivers(protected))
    # The next policy begins with a full in the same archive, which holds the earlier ones.
    protected.apply(policy(wal={"enabled": False}))
    body = protected.until("backuppolicy", POLICY, lambda body: "lastFull" in body.get("status", {}))
    again = protected.get("databasebackup", body["status"]["lastFull"]["name"])["status"]["location"]
    assert again.rpartition("/")[0] == location.rpartition("/")[0]
    assert protected.ask(f"{SERVER}-0", f"SELECT pg_drop_replication_slot('{slot}')") == ""
