"""The manifests that a page shows are the samples, as they stand, and every model takes them."""

from __future__ import annotations

import re

import pytest
import yaml

from pgwarden.kube.types import OWN_KINDS
from tests.support.cluster import ROOT

pytestmark = pytest.mark.unit

PAGES = {"first-backup": ("first-backup", "first-restore")}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_is_its_samples(page: str) -> None:
    shown = re.findall(r"^```yaml\n(.*?)^```", (ROOT / f"docs/{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    assert shown == [(ROOT / f"manifests/samples/{name}.yaml").read_text() for name in PAGES[page]]


@pytest.mark.parametrize("name", [name for names in PAGES.values() for name in names])
def test_a_sample_says_nothing_that_its_kind_does_not_know(name: str) -> None:
    kinds = {kind.INFO.kind: kind for kind in OWN_KINDS}
    manifests = list(yaml.safe_load_all((ROOT / f"manifests/samples/{name}.yaml").read_text()))
    ours = [each for each in manifests if each["kind"] in kinds]
    assert ours
    for each in ours:
        known = kinds[each["kind"]].of(each)
        assert covers(known.spec.to_json(), each["spec"])  # type: ignore[attr-defined]


def covers(told: object, said: object) -> bool:
    """Whether a model has kept all that a manifest says."""
    if isinstance(said, dict):
        return isinstance(told, dict) and all(covers(told.get(key), value) for key, value in said.items())
    return told == said
