"""The operator's side of incident reports: a ConfigMap at once, then a Job that puts the same text into the store."""

from __future__ import annotations

from pgwarden.jobs.render import TaskTooLarge
from pgwarden.jobs.state import JobPhase
from pgwarden.jobs.task import Operation
from pgwarden.kube.agents import launch
from pgwarden.kube.cache import Body
from pgwarden.kube.client import KubeError
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.room import no_room, reserved
from pgwarden.kube.types import ADMISSION_BINDINGS, ADMISSION_POLICIES
from pgwarden.kube.work import create_or_adopt, observe_job
from pgwarden.restores.filing import config_map, config_map_names, file_report, filed, held_true, kept_out, report_job
from pgwarden.restores.plan import WAIT_SECONDS, RestorePlan
from pgwarden.restores.report import Origin, incident_report
from pgwarden.restores.resource import FiledReport, RestoreRequest
from pgwarden.storage.layout import archive_folder
from pgwarden.stores.access import describe, obstacle
from pgwarden.stores.resource import BackupStore


class Reporter:
    """Writes the report of a restore that has ended. Every step may be repeated: what is there is taken as it is."""

    def __init__(self, context: OperatorContext) -> None:
        self.context = context

    async def plan(self, body: Body, request: RestoreRequest, cluster: str, store: BackupStore | None) -> RestorePlan:
        """Goes one step on, and says so in the status. Raises KubeError where it may go better next time."""
        report = request.status.report or FiledReport()
        shown = describe(store) if store is not None else ""
        text = incident_report(request, Origin(cluster, shown, await self.verified(request)))
        if not report.config_map:
            report = await self.keep(body, request, text, report)
        refused = obstacle(store, store.metadata.name) if store is not None else None
        again = None
        if store is None:
            report = kept_out(report, "its BackupStore is gone")
        elif refused is not None:
            report = kept_out(report, refused.message)
        elif not report.complete:
            report, again = await self.store(body, request, text, cluster, store, report)
        status = request.status.model_copy(update={"report": report})
        return RestorePlan(status=status, again_after=again)

    async def verified(self, request: RestoreRequest) -> bool:
        """Whether who asked was compared with who made the request."""
        name = self.context.config.requester_policy
        if not name:
            return False
        try:
            policy = await self.context.client.get(ADMISSION_POLICIES, None, name)
            binding = await self.context.client.get(ADMISSION_BINDINGS, None, name)
        except KubeError as error:
            if error.passing:
                raise
            return False
        return held_true(request, policy, binding)

    async def keep(self, body: Body, request: RestoreRequest, text: str, report: FiledReport) -> FiledReport:
        """Puts the text into a ConfigMap of the request's own."""
        for name in config_map_names(request.metadata):
            try:
                await create_or_adopt(self.context, body, config_map(request, name, text))
            except KubeError as error:
                if error.reason == "NameTaken":
                    continue
                if error.passing or error.namespace_terminating:
                    raise
                message = f"the API server refused ConfigMap {name}: {error.message}"
                return report.model_copy(update={"message": message[:1024]})
            return report.model_copy(update={"config_map": name})
        return report.model_copy(update={"message": "both names that its ConfigMap could have are taken"})

    async def store(
        self, body: Body, request: RestoreRequest, text: str, cluster: str, store: BackupStore, report: FiledReport
    ) -> tuple[FiledReport, float | None]:
        """Has a Job put the text into the store, or takes what it told; seconds after which to look again."""
        context, metadata = self.context, request.metadata
        name = report_job(request)
        state = await observe_job(context, metadata.namespace, name, recorded=bool(report.job))
        if state.ended or (state.phase is JobPhase.ABSENT and report.job):
            return filed(report, state), None
        if state.phase is not JobPhase.ABSENT:
            return report.model_copy(update={"job": name}), WAIT_SECONDS
        if no_room(context, Operation.FILE_REPORT, "", metadata.uid):
            return report, WAIT_SECONDS
        location = request.status.location
        archive = location.rsplit("/", 2)[0] if location else archive_folder(metadata.namespace, cluster)
        start = launch(context.config, name, 1, context.config.images.monitor)
        try:
            with reserved(context, Operation.FILE_REPORT, "", metadata.uid):
                await create_or_adopt(context, body, file_report(request, archive, text, store, start))
        except TaskTooLarge as error:
            return kept_out(report, str(error)), None
        except KubeError as error:
            if error.passing or error.namespace_terminating:
                raise
            return kept_out(report, f"the API server refused the Job that puts the report there: {error.message}"), None
        return report.model_copy(update={"job": name}), WAIT_SECONDS
