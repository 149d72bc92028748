"""An operator's context whose client has not spoken to anybody: for what is decided from the cache alone."""

from __future__ import annotations

from typing import Any

from kubernetes.aio.client.configuration import Configuration

from pgwarden.kube.cache import Cache
from pgwarden.kube.client import KubeClient
from pgwarden.kube.config import OperatorConfig
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.events import EventRecorder
from pgwarden.kube.progress import ProgressBoard
from pgwarden.kube.queue import Queue
from tests.support.objects import NOW


def operator_context(**config: Any) -> OperatorContext:
    """The context. Must be called where an event loop runs."""
    settings = OperatorConfig.model_validate({"images": {"agent": {"17": "agent:17"}, "monitor": "operator"}, **config})
    client = KubeClient(Configuration(), requests_per_second=10)
    return OperatorContext(
        config=settings,
        client=client,
        cache=Cache(),
        queue=Queue(settings.resync_interval),
        events=EventRecorder(client),
        progress=ProgressBoard(client),
        clock=lambda: NOW,
    )
