"""Health rules for Argo CD (Lua) and Flux (CEL): one rule set, because every kind follows kstatus.

Argo CD: documentation, "Resource Health", section "Custom Health Checks": a ConfigMap argocd-cm with one key a kind.
Flux: documentation of Kustomization, section "Health check expressions". The three expressions exclude one another,
so that the order in which they are asked does not matter; `has` keeps them from failing on an object without status.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hack.generate.crd import to_yaml
from hack.generate.output import HEADER
from pgwarden.api.model import API_VERSION, GROUP
from pgwarden.kube.types import OWN_KINDS

LUA = Path(__file__).with_name("health.lua")

SEEN = "has(status.observedGeneration) && status.observedGeneration == metadata.generation"
HAS_CONDITIONS = "has(status.conditions)"
STALLED = "status.conditions.exists(c, c.type == 'Stalled' && c.status == 'True')"
READY = "status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')"

FLUX = {
    "current": f"{SEEN} && {HAS_CONDITIONS} && {READY} && !{STALLED}",
    "failed": f"{SEEN} && {HAS_CONDITIONS} && {STALLED}",
    "inProgress": f"!({SEEN}) || !{HAS_CONDITIONS} || (!{READY} && !{STALLED})",
}


def argocd_patch() -> str:
    """A patch for Argo CD's ConfigMap argocd-cm."""
    data = {f"resource.customizations.health.{GROUP}_{kind.INFO.kind}": LUA.read_text() for kind in OWN_KINDS}
    note = (
        "# Argo CD learns the health of pgwarden's kinds by:\n"
        "# kubectl -n argocd patch configmap argocd-cm --patch-file manifests/health/argocd-cm.yaml\n"
    )
    return (
        HEADER
        + note
        + to_yaml({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": data})
    )


def flux_expressions() -> str:
    """What goes into `spec` of a Flux Kustomization."""
    expressions: list[dict[str, Any]] = [
        {"apiVersion": API_VERSION, "kind": kind.INFO.kind, **FLUX} for kind in OWN_KINDS
    ]
    note = (
        "# Flux waits for pgwarden's kinds when these lines stand in the spec of a Kustomization\n"
        "# (kustomize.toolkit.fluxcd.io/v1) that applies them, beside `wait: true`.\n"
    )
    return HEADER + note + to_yaml({"healthCheckExprs": expressions})
