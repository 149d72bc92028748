"""The shipped health rules, run: Lua as Argo CD runs it, CEL as Flux does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml
from celpy.adapter import json_to_cel
from lupa import LuaRuntime

from hack.generate.states import STATES, State
from pgwarden.api.model import API_VERSION, GROUP
from pgwarden.kube.types import OWN_KINDS

pytestmark = pytest.mark.unit

HEALTH = Path(__file__).parents[3] / "manifests/health"
KINDS = [resource.INFO.kind for resource in OWN_KINDS]
CASES = [pytest.param(state, kind, id=f"{kind}-{state.title}") for state in STATES for kind in KINDS]


def argocd(kind: str, manifest: dict[str, Any]) -> dict[str, str]:
    """What Argo CD says: the script gets the object as the global `obj` and returns a table."""
    config_map = yaml.safe_load((HEALTH / "argocd-cm.yaml").read_text())
    script = config_map["data"][f"resource.customizations.health.{GROUP}_{kind}"]
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.globals()["obj"] = lua.table_from(manifest, recursive=True)
    return dict(lua.execute(script))


def flux(kind: str, manifest: dict[str, Any]) -> str:
    """What Flux says (fluxcd/pkg, runtime/cel): a stale generation first, then the expressions in their fixed order.

    The parts of the object are the variables. Without `status`, cel-go fails where cel-python finds the field absent;
    Flux then calls the object Unknown and waits, as it does for InProgress.
    """
    (expressions,) = (
        entry
        for entry in yaml.safe_load((HEALTH / "flux.yaml").read_text())["healthCheckExprs"]
        if (entry["apiVersion"], entry["kind"]) == (manifest["apiVersion"], kind)
    )
    observed = manifest.get("status", {}).get("observedGeneration")
    if observed is not None and observed != manifest["metadata"]["generation"]:
        return "InProgress"
    environment = celpy.Environment()
    variables = {name: json_to_cel(part) for name, part in manifest.items()}
    for key, status in (("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")):
        program = environment.program(environment.compile(expressions[key]))
        if bool(program.evaluate(variables)):
            return status
    return "InProgress"


@pytest.mark.parametrize(("state", "kind"), CASES)
def test_argocd_reads_each_state_as_the_reference_says(state: State, kind: str) -> None:
    health = argocd(kind, state.manifest(API_VERSION, kind))
    assert health["status"] == state.argocd
    assert health["message"]


@pytest.mark.parametrize(("state", "kind"), CASES)
def test_flux_reads_each_state_as_the_reference_says(state: State, kind: str) -> None:
    assert flux(kind, state.manifest(API_VERSION, kind)) == state.flux


def test_argocd_shows_the_sentence_of_the_condition_that_decided() -> None:
    stalled = next(state for state in STATES if state.argocd == "Degraded")
    assert (
        argocd("DatabaseMigration", stalled.manifest(API_VERSION, "DatabaseMigration"))["message"] == "Stalled is True"
    )


def test_a_status_that_is_still_empty_is_progressing_for_both() -> None:
    manifest = STATES[0].manifest(API_VERSION, "DatabaseBackup") | {"status": {}}
    assert argocd("DatabaseBackup", manifest)["status"] == "Progressing"
    assert flux("DatabaseBackup", manifest) == "InProgress"


def test_there_are_rules_for_every_kind_and_for_no_other() -> None:
    config_map = yaml.safe_load((HEALTH / "argocd-cm.yaml").read_text())
    expressions = yaml.safe_load((HEALTH / "flux.yaml").read_text())["healthCheckExprs"]
    assert sorted(config_map["data"]) == sorted(f"resource.customizations.health.{GROUP}_{kind}" for kind in KINDS)
    assert sorted(entry["kind"] for entry in expressions) == sorted(KINDS)
