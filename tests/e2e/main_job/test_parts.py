"""What was lost comes into the server that runs, in a database of its own, and is put back by what is printed."""

from __future__ import annotations

import pytest

from tests.e2e.main_job.conftest import LOST
from tests.support.place import MODEST, Body, Place, backup, condition, is_ready, is_reported, thing
from tests.support.shell import Shell

pytestmark = pytest.mark.timeout(600)

NEW = "operational-then"
NAME = "operational-parts"
DUMP = "analytics-dump"


@pytest.fixture(scope="module")
def parts(platform: Place, restored: dict[str, Body]) -> Body:
    """The table that `operational` has lost, out of the backup from before, beside the database that lost it."""
    platform.patch(
        "databasecluster",
        "operational",
        {"spec": {"credentials": {"restore": {"secretName": "operational-superuser"}}}},
    )
    schema, table = LOST.split(".")
    wanted = {"database": "operational", "newName": NEW, "tables": [{"schemaName": schema, "tableName": table}]}
    into = {"clusterRef": {"name": "operational"}, "databases": [wanted], **MODEST}
    source = {"backupRef": {"name": "operational-claim"}}
    platform.apply(thing("RestoreRequest", NAME, {"source": source, "target": {"into": into}, "jobTemplate": MODEST}))
    return platform.until("restorerequest", NAME, is_ready)


@pytest.fixture(scope="module")
def from_dump(platform: Place, restored: dict[str, Body]) -> Body:
    """A dump of `analytics`, loaded into a server of a later version that knows none of its roles."""
    platform.ask("analytics-0", "GRANT pg_read_all_data TO pgwarden_backup")
    restorer = {"spec": {"credentials": {"restore": {"secretName": "modern-superuser"}}}}
    platform.patch("databasecluster", "modern", restorer)
    platform.apply(backup(DUMP, "analytics", "bucket", type="Logical"))
    platform.until("databasebackup", DUMP, is_ready)
    wanted = {"database": "analytics", "newName": DUMP}
    into = {"clusterRef": {"name": "modern"}, "databases": [wanted], "withoutOwners": True, **MODEST}
    source = {"backupRef": {"name": DUMP}}
    platform.apply(thing("RestoreRequest", DUMP, {"source": source, "target": {"into": into}, "jobTemplate": MODEST}))
    return platform.until("restorerequest", DUMP, is_ready)


def test_a_dump_comes_into_a_server_of_a_later_version(from_dump: Body, platform: Place) -> None:
    assert platform.fingerprints("modern-0", DUMP) == platform.fingerprints("analytics-0", "analytics")
    (loaded,) = from_dump["status"]["loaded"]
    assert f'ALTER DATABASE "{DUMP}" RENAME TO "analytics";' in loaded["swap"]


def test_the_table_is_there_beside_the_database_that_lost_it(
    parts: Body, before: dict[str, dict[str, str]], platform: Place
) -> None:
    assert platform.fingerprints("operational-0", NEW) == {LOST: before["operational"][LOST]}
    assert LOST not in platform.fingerprints("operational-0", "operational")
    status = parts["status"]
    assert {step["name"]: step["state"] for step in status["steps"]}["Publish"] == "Done"
    (loaded,) = status["loaded"]
    assert loaded["counts"] == [{"table": LOST, "rows": loaded["rows"]}]
    assert f"{loaded['rows']} rows in 1 tables" in condition(parts, "Ready")["message"]


def test_what_is_printed_puts_it_back(
    parts: Body,
    before: dict[str, dict[str, str]],
    platform: Place,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    shown = Shell.of(platform, tmp_path_factory.mktemp("shell")).pgwarden("restore", "show", NAME)
    assert shown.returncode == 0, shown.stderr
    lines = [line for line in shown.stdout.splitlines() if line.startswith("pg_dump ")]
    assert lines == parts["status"]["loaded"][0]["swap"].splitlines()[1:]
    user = "export PGUSER=postgres"
    platform.kubectl("exec", "operational-0", "--container=postgres", "--", "sh", "-c", f"{user}; {lines[0]}")
    found = platform.fingerprints("operational-0", "operational")
    assert found[LOST] == before["operational"][LOST]


def test_nothing_else_is_left_and_the_report_tells(parts: Body, platform: Place) -> None:
    names = platform.ask("operational-0", "SELECT datname FROM pg_database WHERE datname LIKE 'pgwarden%'")
    assert names == ""
    body = platform.until("restorerequest", NAME, is_reported)
    text = platform.get("configmap", body["status"]["report"]["configMap"])["data"]["report.md"]
    assert "DatabaseCluster operational" in text
    left = "statefulsets,services,persistentvolumeclaims"
    selector = f"pgwarden.dev/owner-uid={parts['metadata']['uid']}"
    platform.until("restorerequest", NAME, lambda _: not platform.list(left, "--selector", selector))
