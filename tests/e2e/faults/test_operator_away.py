"""The operator is away while Jobs finish and are cleared away: their work is neither repeated nor lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.workplace import Body, Workplace

pytestmark = pytest.mark.timeout(900)

BACKUP, MIGRATION, RESTORE = "DatabaseBackup", "DatabaseMigration", "RestoreRequest"
SLOW_KIB = 8192


@dataclass
class Absence:
    """One object of each kind, whose first Jobs ended while no operator was there."""

    workplace: Workplace
    name: str
    uids: dict[str, str]

    @property
    def jobs(self) -> dict[str, str]:
        """Names of the Jobs that ran in the meantime, by kind."""
        return {kind: self.workplace.get(kind, self.name)["status"]["attempts"][0]["job"] for kind in self.uids}


@pytest.fixture
def absence(workplace: Workplace, backed_up: str, name: str) -> Iterator[Absence]:
    """Jobs that an operator started and did not see the end of."""
    with workplace.operator() as operator:
        operator.wait_until_leading()
        uids = {
            BACKUP: workplace.back_up(name, maxRateKiB=SLOW_KIB),
            MIGRATION: workplace.migrate(name, "CREATE TABLE once AS SELECT 1 AS id FROM pg_sleep(2)"),
            RESTORE: workplace.restore(name, backed_up),
        }
        for kind in uids:
            workplace.wait(lambda: bool(attempts(workplace, kind, name)), f"an attempt at {kind} {name}")  # noqa: B023
        operator.kill()
    for kind, uid in uids.items():
        assert not attempts(workplace, kind, name)[0].get("completionTime"), f"{kind} ended too soon for this test"
        workplace.wait(ended(workplace, uid), f"the Job of {kind} {name} to end")
    yield Absence(workplace, name, uids)
    # Room for the next one.
    workplace.kubectl("delete", "statefulset", name)


def attempts(workplace: Workplace, kind: str, name: str) -> list[Body]:
    found: list[Body] = workplace.get(kind, name).get("status", {}).get("attempts", [])
    return found


def ended(workplace: Workplace, uid: str) -> Callable[[], bool]:
    def check() -> bool:
        jobs = workplace.owned("Job", uid)
        return bool(jobs) and all(
            any(c["type"] == "Complete" and c["status"] == "True" for c in job.get("status", {}).get("conditions", []))
            for job in jobs
        )

    return check


def work_is_done_once(absence: Absence) -> None:
    """Asserts that what the objects asked for was done, by the first Jobs, and that their statuses know."""
    place, name = absence.workplace, absence.name
    for kind in absence.uids:
        place.wait_ready(kind, name)
    backup = place.get(BACKUP, name)
    assert len(place.records(backup["status"]["backupID"])) == 1
    assert len(place.folders(backup["status"]["backupID"])) == 1
    assert backup["status"]["storedBytes"] > 0
    migration = place.get(MIGRATION, name)
    assert migration["status"]["currentVersion"] == "1"
    assert place.psql("SELECT version, attempts FROM pgwarden.migrations", database=name) == "1|1"
    assert place.psql("SELECT count(*) FROM once", database=name) == "1"
    assert place.restored_psql("SELECT count(*) FROM kept", name) == "1000"
    assert len(place.owned("StatefulSet", absence.uids[RESTORE])) == 1


@pytest.mark.parametrize("name", ["unseen"])
def test_a_job_that_ended_unseen_is_taken_for_what_it_was(absence: Absence) -> None:
    with absence.workplace.operator():
        work_is_done_once(absence)
    for kind in absence.uids:
        assert [attempt["number"] for attempt in attempts(absence.workplace, kind, absence.name)] == [1]


@pytest.mark.parametrize("name", ["podless"])
def test_a_pod_that_is_gone_costs_a_question_and_no_second_run(absence: Absence) -> None:
    for job in absence.jobs.values():
        absence.workplace.kubectl("delete", "pod", "-l", f"batch.kubernetes.io/job-name={job}")
    with absence.workplace.operator():
        work_is_done_once(absence)
    for kind in absence.uids:
        first, second = attempts(absence.workplace, kind, absence.name)
        assert (first["number"], first["reason"]) == (1, "ResultLost")
        assert second["number"] == 2


@pytest.mark.parametrize("name", ["jobless"])
def test_a_job_that_is_gone_costs_a_question_and_no_second_run(absence: Absence) -> None:
    absence.workplace.kubectl("delete", "job", *absence.jobs.values())
    with absence.workplace.operator():
        work_is_done_once(absence)
    for kind in absence.uids:
        first, second = attempts(absence.workplace, kind, absence.name)
        assert (first["number"], first["reason"]) == (1, "JobDeleted")
        assert second["number"] == 2
