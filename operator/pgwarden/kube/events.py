"""Events: what happened, told where `kubectl describe` and `kubectl events` show it.

Whoever has something to tell hands it over and goes on; Events are written in the background. Their names follow from
what they tell, so that telling again after a crash makes no second one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from pgwarden.api.conditions import READY, Condition, judge
from pgwarden.api.masking import masked
from pgwarden.api.status import Status
from pgwarden.jobs.plan import Notice, told
from pgwarden.jobs.task import shorten_bytes
from pgwarden.kube.client import KubeClient, KubeError
from pgwarden.kube.types import EVENTS

CONTROLLER = "pgwarden.dev/operator"
# Bytes, not characters.
NOTE_LIMIT = 1024
REPEAT_SECONDS = 600.0
REMEMBERED = 5000

AT_ONCE = 4
BACKLOG = 10_000
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
GIVE_UP_SECONDS = 300.0
RECENT_SECONDS = 60.0
"""What turned so short a time ago may not have been told before the operator ended."""

TOLD = {
    "DatabaseCluster": ("Reachable", "DuplicateOf", "SlotsInUse"),
    "BackupStore": ("Writable",),
    "BackupPolicy": (READY, "LastBackupSucceeded", "WALArchiving", "ObjectivesMet", "Recoverable", "ArchiveSound"),
}
"""Kind -> conditions whose turns are told; Ready where a kind is not named."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Letter:
    """An Event on its way."""

    namespace: str
    event: dict[str, Any]
    written: float
    """On the monotonic clock."""


class EventRecorder:
    """Creates Events; the same reason and message about the same object is told once in ten minutes."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._backlog: asyncio.Queue[Letter] = asyncio.Queue(BACKLOG)

    def tell(self, body: dict[str, Any], notice: Notice) -> None:
        """Tells about the object in `body`, as it stands now; failing to tell is logged and otherwise ignored."""
        metadata = body["metadata"]
        key = (metadata.get("uid", ""), notice.reason, notice.message)
        now = time.monotonic()
        if now - self._told.get(key, float("-inf")) < REPEAT_SECONDS:
            return
        self._told[key] = now
        self._told.move_to_end(key)
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        level = log.warning if notice.warning else log.info
        level(notice.message, reason=notice.reason, object=f"{body['kind']} {metadata['namespace']}/{metadata['name']}")
        if self._backlog.full():
            lost = self._backlog.get_nowait()
            self._backlog.task_done()
            log.warning("too many Events wait to be written; the oldest is dropped", reason=lost.event["reason"])
        self._backlog.put_nowait(Letter(metadata["namespace"], event(body, notice, datetime.now(UTC)), now))

    def tell_again(self, body: dict[str, Any], now: datetime) -> None:
        """Tells what turned in an object just before this operator began: its predecessor may not have come to it."""
        for notice in untold(body, now):
            self.tell(body, notice)

    async def run(self) -> None:
        """Writes Events until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._send_all())

    async def drain(self, seconds: float) -> None:
        """Returns when all Events are written, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._backlog.join()
        except TimeoutError:
            log.warning("Events were not written before the end", count=self._backlog.qsize())

    async def _send_all(self) -> None:
        while True:
            letter = await self._backlog.get()
            try:
                await self._send(letter)
            except Exception:
                log.exception("an Event could not be written", reason=letter.event["reason"])
            finally:
                self._backlog.task_done()

    async def _send(self, letter: Letter) -> None:
        """Writes one Event, again and again while that may help."""
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                await self.client.create(EVENTS, letter.namespace, letter.event)
                return
            except KubeError as error:
                # It may have been told before a crash, or by a request whose answer was lost.
                if error.already_exists or error.namespace_terminating or error.not_found:
                    return
                late = time.monotonic() - letter.written > GIVE_UP_SECONDS
                if late or not error.passing:
                    log.warning("an Event could not be written", error=error.message, reason=letter.event["reason"])
                    return
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)


def untold(body: dict[str, Any], now: datetime) -> list[Notice]:
    """What may not have been told of an object: the turns of its conditions within the last minute."""
    found = []
    for condition in conditions_of(body):
        if condition.type in TOLD.get(body["kind"], (READY,)) and is_recent(condition, now) and condition.message:
            found += told(as_judgments(body), Status(), condition.type)
    return found


def as_judgments(body: dict[str, Any]) -> list[Any]:
    """The conditions of an object as a plan would have judged them."""
    return [
        judge(each.type, {"True": True, "False": False}.get(each.status), each.reason, each.message)
        for each in conditions_of(body)
    ]


def conditions_of(body: dict[str, Any]) -> list[Condition]:
    """The conditions of an object that may hold others nobody here understands."""
    found = []
    for condition in (body.get("status") or {}).get("conditions") or []:
        try:
            found.append(Condition.model_validate(condition))
        except ValueError:
            continue
    return found


def is_recent(condition: Condition, now: datetime) -> bool:
    return (now - condition.last_transition_time).total_seconds() < RECENT_SECONDS


def event(body: dict[str, Any], notice: Notice, now: datetime) -> dict[str, Any]:
    """An events.k8s.io/v1 Event about the object in `body`."""
    metadata = body["metadata"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": event_name(body, notice, now), "namespace": metadata["namespace"]},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": os.environ.get("HOSTNAME", "operator")[:128],
        "action": "Reconcile",
        "reason": notice.reason,
        "regarding": {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
        },
        "note": shorten_bytes(masked(notice.message), NOTE_LIMIT),
        "type": "Warning" if notice.warning else "Normal",
    }


def event_name(body: dict[str, Any], notice: Notice, now: datetime) -> str:
    """A name that is the same for the same turn of a condition, whoever tells of it, and else for each moment."""
    metadata = body["metadata"]
    moment = now
    for condition in conditions_of(body):
        told_here = condition.type in TOLD.get(body["kind"], (READY,))
        if told_here and condition.reason == notice.reason and is_recent(condition, now):
            moment = condition.last_transition_time
    words = f"{metadata.get('uid', '')} {notice.reason} {moment.astimezone(UTC).isoformat()}"
    return f"{metadata['name'][:200].rstrip('-.')}.{hashlib.sha256(words.encode()).hexdigest()[:16]}"
