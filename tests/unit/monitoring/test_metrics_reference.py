"""docs/reference/metrics.md names every metric there is, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from pgwarden.archiving.contract import ArchiverReport, SlotReport
from pgwarden.archiving.metrics import metrics as archiver_metrics
from pgwarden.kube import client, health, queue
from pgwarden.monitoring.contract import ClusterObservation, DatabaseObservation, EndpointObservation, Observations
from pgwarden.monitoring.process import metrics
from pgwarden.policies import metrics as policies
from tests.support.objects import NOW

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"
ROW = re.compile(r"^\| `(pgwarden_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


def documented() -> dict[str, tuple[str, set[str]]]:
    """Name -> type and labels."""
    rows = ROW.findall(PAGE.read_text())
    return {name: (type_, set(re.findall(r"`(\w+)`", labels))) for name, type_, labels in rows}


def labels_of(collector: Any) -> set[str]:
    return set(collector._labelnames)


def of_the_operator() -> dict[str, tuple[str, set[str]]]:
    assert client and health and queue and policies  # they register what they export
    found = {}
    for family in REGISTRY.collect():
        if family.name.startswith("pgwarden_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            collector = REGISTRY._names_to_collectors[name]
            found[name] = (family.type, labels_of(collector))
    return found


def of_the_monitor() -> dict[str, tuple[str, set[str]]]:
    seen = ClusterObservation(
        name="c",
        uid="u",
        digest="d",
        time=NOW,
        primary=EndpointObservation(host="h", port=1, reachable=True),
        databases=[DatabaseObservation(name="d", size_bytes=1)],
    )
    text = metrics(Observations(time=NOW, clusters=[seen])).decode()
    return {f.name: (f.type, set(f.samples[0].labels)) for f in text_string_to_metric_families(text)}


def of_the_archiver() -> dict[str, tuple[str, set[str]]]:
    slot = SlotReport(name="s", safe_wal_bytes=1)
    report = ArchiverReport(
        time=NOW, since=NOW, policy="p", lag_bytes=1, lag_seconds=1, last_archived_time=NOW, slot=slot
    )
    families = text_string_to_metric_families(archiver_metrics(report).decode())
    return {f.name + ("_total" if f.type == "counter" else ""): (f.type, set(f.samples[0].labels)) for f in families}


def test_the_page_is_true() -> None:
    assert documented() == {**of_the_operator(), **of_the_monitor(), **of_the_archiver()}
