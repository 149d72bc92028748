"""The configuration file: what is wrong in it is told at the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from pgwarden.kube.agents import account_refused, agent_image, image_missing
from pgwarden.kube.config import read_config

GOOD = "images: {agent: {'17': a17, '18': a18}, monitor: operator}\n"


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "operator.yaml"
    path.write_text(GOOD)
    config = read_config(path)
    assert (agent_image(config), agent_image(config, 17), agent_image(config, 15)) == ("a18", "a17", None)
    assert "17, 18" in image_missing(config, 15)
    assert account_refused(config, None) == account_refused(config, "default") == ""
    assert "jobServiceAccounts" in account_refused(config, "admin")


@pytest.mark.parametrize(
    "wrong",
    ["workerz: 3\n", "workers: 0\n", "requestsPerSecond: 0\n", "limits: {jobsTotal: none}\n", "resyncInterval: 1\n"],
)
def test_a_mistake_is_refused(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "operator.yaml"
    path.write_text(GOOD + wrong)
    with pytest.raises(ValidationError):
        read_config(path)


def test_an_agents_image_is_listed_by_major_version(tmp_path: Path) -> None:
    path = tmp_path / "operator.yaml"
    path.write_text("images: {agent: {latest: a}, monitor: operator}\n")
    with pytest.raises(ValidationError):
        read_config(path)
