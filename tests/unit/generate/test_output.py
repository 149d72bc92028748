"""Drift is seen, and mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack.generate.output import drift, write

pytestmark = pytest.mark.unit


def test_a_changed_a_missing_and_a_leftover_file_are_drift_until_written(tmp_path: Path) -> None:
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds/old.yaml").write_text("old")
    (tmp_path / "crds/changed.yaml").write_text("by hand")
    files = {"crds/changed.yaml": "generated", "docs/new.md": "generated"}
    expected = ["crds/changed.yaml", "crds/old.yaml", "docs/new.md"]
    assert drift(files, ["crds"], tmp_path) == expected
    assert write(files, ["crds"], tmp_path) == expected
    assert drift(files, ["crds"], tmp_path) == []
    assert not (tmp_path / "crds/old.yaml").exists()


def test_what_lies_outside_the_generated_folders_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("mine")
    write({"crds/a.yaml": "generated"}, ["crds"], tmp_path)
    assert (tmp_path / "notes.yaml").read_text() == "mine"
