"""Where `pgwarden backup` looks: at a store directly, or through a Job in a Kubernetes cluster.

Both do the same: an agent carries out a task, and its log and result are read. Only where it runs differs.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from pgwarden.catalogue.contract import (
    BackupLine,
    CatalogueReport,
    CatalogueTask,
    Line,
    TimelineLine,
    WayLine,
    What,
)
from pgwarden.jobs.agent import AgentContext, perform
from pgwarden.jobs.errors import TaskError
from pgwarden.jobs.files import ArchiveIdentity, ClaimLocation, S3Location, StoreLocation
from pgwarden.jobs.task import ObjectRef, Outcome, Progress, Result, Task
from pgwarden.storage import layout
from pgwarden.storage.store import Store, open_store

DIRECT = re.compile(r"s3://|\.{0,2}/|\.{1,2}$")


def parse_age(text: str) -> int:
    """`30d`, `12h`, `2w` as seconds. Raises TaskError with reason NotAnAge."""
    match = re.fullmatch(r"([0-9]+)([smhdw])", text)
    if match is None:
        raise TaskError("NotAnAge", f"{text!r} is no length of time", remedy="Write it as 30d, 12h or 2w.")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[match[2]]


@dataclass
class Answer:
    """What a task found."""

    result: Result
    backups: list[BackupLine] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    timelines: list[TimelineLine] = field(default_factory=list)
    way: WayLine | None = None
    report: CatalogueReport | None = None

    def checked(self) -> Answer:
        """The answer of a task that succeeded. Raises TaskError with what one that failed says."""
        if self.result.outcome == Outcome.FAILED:
            result = self.result
            raise TaskError(result.reason, result.message, remedy=result.remedy, retryable=result.retryable)
        return self


class Source(Protocol):
    """A place where the catalogue of one cluster can be asked."""

    def ask(self, what: What, **settings: Any) -> Answer:
        """Has a task carried out; `settings` are fields of CatalogueTask. Raises TaskError when it cannot run."""
        ...


def answer(result: Result, log: str, nonce: str) -> Answer:
    """What a task's result and log say; lines that are none of the task's are left out."""
    found = Answer(result)
    for text in log.splitlines():
        if nonce not in text:
            continue
        try:
            line = Line.model_validate_json(text)
        except ValidationError:
            continue
        if line.nonce != nonce:
            continue
        if line.backup is not None:
            found.backups.append(line.backup)
        if line.record is not None:
            found.records.append(line.record)
        if line.trouble is not None:
            found.troubles.append(line.trouble)
        if line.timeline is not None:
            found.timelines.append(line.timeline)
        found.way = line.way or found.way
        found.report = line.report or found.report
    if found.report is None and result.report:
        found.report = CatalogueReport.model_validate(result.report)
    return found


class ShownProgress(io.StringIO):
    """The log of an agent in this process, whose progress goes to the terminal."""

    def write(self, text: str, /) -> int:
        if '"step"' in text and sys.stderr.isatty():
            try:
                step = Progress.model_validate_json(text)
            except ValidationError:
                return super().write(text)
            share = f" {100 * step.done // step.total}%" if step.total else f" {step.done}" if step.done else ""
            print(f"\r\033[K{step.step}{share}", end="", file=sys.stderr, flush=True)
        return super().write(text)


@dataclass
class DirectSource:
    """A store that this process opens itself."""

    location: StoreLocation
    archive: ArchiveIdentity

    def ask(self, what: What, **settings: Any) -> Answer:
        payload = CatalogueTask(what=what, archive=self.archive, store=self.location, now=datetime.now(UTC), **settings)
        task = Task(
            operation=payload.OPERATION,
            nonce=secrets.token_hex(16),
            object=ObjectRef(
                kind="DatabaseCluster", namespace=self.archive.namespace, name=self.archive.cluster, uid=""
            ),
            payload=payload.model_dump(mode="json", by_alias=True),
        )
        log = ShownProgress()
        result = perform(task, AgentContext(task, output=log))
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        return answer(result, log.getvalue(), task.nonce)


@contextmanager
def direct(
    store: str,
    *,
    endpoint: str | None,
    region: str | None,
    ca_file: Path | None,
    path_style: bool,
    credentials: Path | None,
    catalogue_key: Path | None,
    cluster: str | None,
    uid: str = "",
) -> Iterator[DirectSource]:
    """A store that is named as s3://bucket/prefix or as a folder; `cluster` as namespace/name, where there are several.

    Raises TaskError: CredentialsMissing, StoreMisconfigured, ArchiveNotNamed, and what `Store` raises.
    """
    own = Path(tempfile.mkdtemp(prefix="pgwarden-"))
    try:
        if store.startswith("s3://"):
            location = bucket(store, endpoint, region, ca_file, path_style, credentials or from_environment(own))
        else:
            location = StoreLocation(claim=ClaimLocation(path=str(Path(store).resolve())))
        if catalogue_key is not None:
            location = location.model_copy(update={"catalogue_key": str(catalogue_key)})
        namespace, name = chosen(open_store(location), cluster)
        yield DirectSource(location, ArchiveIdentity(namespace=namespace, cluster=name, cluster_uid=uid))
    finally:
        shutil.rmtree(own)


def bucket(
    store: str, endpoint: str | None, region: str | None, ca_file: Path | None, path_style: bool, credentials: Path
) -> StoreLocation:
    """A bucket; what options leave out comes from the AWS_* variables that every S3 tool knows."""
    name, _, prefix = store.removeprefix("s3://").partition("/")
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    authorities = str(ca_file) if ca_file is not None else os.environ.get("AWS_CA_BUNDLE")
    return StoreLocation(
        s3=S3Location(
            endpoint=(endpoint or f"https://s3.{region}.amazonaws.com").rstrip("/"),
            bucket=name,
            region=region,
            path_style=path_style,
            ca_file=authorities,
            access_key_id_file=str(credentials / "access_key_id"),
            secret_access_key_file=str(credentials / "secret_access_key"),
        ),
        prefix=prefix.strip("/"),
    )


def from_environment(folder: Path) -> Path:
    """Files with the credentials of the environment, which only this user can read. Raises TaskError."""
    for variable, name in (("AWS_ACCESS_KEY_ID", "access_key_id"), ("AWS_SECRET_ACCESS_KEY", "secret_access_key")):
        value = os.environ.get(variable)
        if not value:
            raise TaskError(
                "CredentialsMissing",
                f"{variable} is not set, and no folder with credentials was named",
                remedy="Export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a folder with the files "
                "access_key_id and secret_access_key: --credentials FOLDER.",
            )
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(value)
    return folder


def chosen(store: Store, cluster: str | None) -> tuple[str, str]:
    """Namespace and name of the cluster that is meant. Raises TaskError with reason ArchiveNotNamed."""
    if cluster is not None:
        namespace, _, name = cluster.partition("/")
        if namespace and name:
            return namespace, name
        raise TaskError(
            "ArchiveNotNamed",
            f"{cluster!r} does not name a cluster in a store",
            remedy="Write it as <namespace>/<name of the DatabaseCluster>: --cluster shop/operational.",
        )
    found = archives(store)
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{namespace}/{name}" for namespace, name in found) or "none at all"
    raise TaskError(
        "ArchiveNotNamed",
        f"there are {len(found)} archives in the store ({store.name}): {names}",
        remedy="Name one of them with --cluster, or check the store's prefix.",
    )


def archives(store: Store) -> list[tuple[str, str]]:
    """Namespace and cluster of every archive in a store."""
    return [
        (namespace, name)
        for namespace in sorted(store.folders(""))
        for name in sorted(store.folders(namespace))
        if store.head(layout.archive_file(layout.archive_folder(namespace, name))) is not None
    ]
