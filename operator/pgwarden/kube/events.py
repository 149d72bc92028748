"""Events: what happened, told where `kubectl describe` and `kubectl events` show it."""

from __future__ import annotations

import os
import secrets
import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import structlog

from pgwarden.jobs.plan import Notice
from pgwarden.jobs.task import shorten_bytes
from pgwarden.kube.client import KubeClient, KubeError
from pgwarden.kube.types import EVENTS

CONTROLLER = "pgwarden.dev/operator"
# Bytes, not characters.
NOTE_LIMIT = 1024
REPEAT_SECONDS = 600.0
REMEMBERED = 5000

log = structlog.get_logger()


class EventRecorder:
    """Creates Events; the same reason and message about the same object is told once in ten minutes."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    async def tell(self, body: dict[str, Any], notice: Notice) -> None:
        """Tells about the object in `body`; failing to tell is logged and otherwise ignored."""
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
        try:
            await self.client.create(EVENTS, metadata["namespace"], event(body, notice, datetime.now(UTC)))
        except KubeError as error:
            if not error.namespace_terminating and not error.not_found:
                log.warning("an Event could not be written", error=error.message, reason=notice.reason)


def event(body: dict[str, Any], notice: Notice, now: datetime) -> dict[str, Any]:
    """An events.k8s.io/v1 Event about the object in `body`."""
    metadata = body["metadata"]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:200].rstrip('-.')}.{secrets.token_hex(8)}",
            "namespace": metadata["namespace"],
        },
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
        "note": shorten_bytes(notice.message, NOTE_LIMIT),
        "type": "Warning" if notice.warning else "Normal",
    }
