"""The Job that looks after an archive, and the report that must fit into a termination message."""

from __future__ import annotations

from datetime import UTC, datetime

from pgwarden.catalogue.contents import Catalogue, Flaw, StoredBackup, Trouble
from pgwarden.catalogue.contract import CatalogueReport, CatalogueTask, PruneReport, What
from pgwarden.catalogue.render import catalogue_job, task_for
from pgwarden.catalogue.summary import summarize
from pgwarden.jobs.render import Owner
from pgwarden.jobs.task import RESULT_LIMIT, Outcome, Result, Task
from tests.support.manifests import check, launch, task_of
from tests.support.objects import bucket_store, observed_cluster
from tests.unit.catalogue.world import World

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_the_job_mounts_what_it_reads_with_and_tells_its_task() -> None:
    cluster, store = observed_cluster(), bucket_store()
    payload = task_for(cluster, store, What.PRUNE, NOW).model_copy(update={"live": ["b1"], "dry_run": True})
    job = catalogue_job(
        payload,
        cluster,
        store,
        Owner("BackupStore", cluster.metadata.namespace, store.metadata.name, "uid-1"),
        launch("prune-1"),
    )
    check(job)
    read = CatalogueTask.model_validate(Task.model_validate_json(task_of(job)).payload)
    assert read == payload
    assert read.archive.cluster_uid == cluster.metadata.uid
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["catalogue-key"]["secret"]["secretName"] == f"{store.metadata.name}-catalogue-key"
    assert read.store.catalogue_key is not None


def test_the_longest_report_fits_into_a_termination_message() -> None:
    world = World()
    for _ in range(50):
        world.wait(1)
        world.write()
        world.write(lost=True)
        bad = world.back_up(flaw=Flaw.INCOMPLETE)
        world.backups[-1] = StoredBackup(**{**vars(bad), "flaw_detail": "a" * 500})
        world.back_up()
    known = world.catalogue()
    troubles = tuple(Trouble("a/backups/x/backup.json", "RecordForged", "x" * 500) for _ in range(50))
    catalogue = Catalogue(known.archive, known.backups, known.timelines, known.moments, troubles)
    report = summarize(catalogue, {}, wal_objects=10**6, wal_bytes=10**12)
    names = [f"20261123T010000Z-full-{number:010d}" for number in range(10)]
    report.prune = PruneReport(dry_run=False, backup_ids=names, refusal="r" * 500, held="h" * 300)
    full = report.model_dump(mode="json", by_alias=True, exclude_none=True)
    message = Result(outcome=Outcome.SUCCEEDED, reason="Pruned", message="m" * 1600, report=full).to_message()
    assert len(message.encode()) <= RESULT_LIMIT
    read = CatalogueReport.model_validate(Result.model_validate_json(message).report)
    assert (read.flawed_count, read.trouble_count, read.gap_count) == (50, 50, report.gap_count)
    assert report.gap_count >= 40
    assert read.latest == report.latest
