"""Every file that is generated from the models, and by what."""

from __future__ import annotations

from typing import Any

from hack.generate.crd import custom_resource_definition, to_yaml
from hack.generate.health import argocd_patch, flux_expressions
from hack.generate.output import HEADER
from hack.generate.rbac import roles_for_people, rules_document
from hack.generate.reference import api_reference
from hack.generate.samples import sample_files
from pgwarden.kube.types import OWN_KINDS

# Charts that bring the CRDs -> the condition under which they do.
CRD_CHARTS = {"pgwarden": ".Values.crds.enabled", "pgwarden-crds": ""}

# These hold nothing else, so that what is not generated any more is removed from them.
FOLDERS = ("crds", *(f"charts/{chart}/templates/crds" for chart in CRD_CHARTS))


def files_from_models() -> dict[str, str]:
    """Path, relative to the repository -> content. Raises SchemaError when a model cannot be expressed."""
    files = {}
    for resource in OWN_KINDS:
        definition = custom_resource_definition(resource)
        name = f"{resource.INFO.plural}.yaml"
        files[f"crds/{name}"] = HEADER + to_yaml(definition)
        for chart, condition in CRD_CHARTS.items():
            files[f"charts/{chart}/templates/crds/{name}"] = guarded(chart_object(definition, chart), condition)
    files["crds/kustomization.yaml"] = HEADER + to_yaml(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [*(f"{resource.INFO.plural}.yaml" for resource in OWN_KINDS), "roles.yaml"],
        }
    )
    files["crds/roles.yaml"] = HEADER + "---\n".join(to_yaml(role) for role in roles_for_people())
    for chart, condition in CRD_CHARTS.items():
        roles = "---\n".join(chart_object(role, chart) for role in roles_for_people())
        files[f"charts/{chart}/templates/crds/roles.yaml"] = guarded(roles, condition)
    files["charts/pgwarden/files/rules.yaml"] = HEADER + to_yaml(rules_document())
    files["manifests/health/argocd-cm.yaml"] = argocd_patch()
    files["manifests/health/flux.yaml"] = flux_expressions()
    files["docs/reference/api.md"] = api_reference()
    return files | sample_files()


def chart_object(manifest: dict[str, Any], chart: str) -> str:
    """A cluster-wide object as a chart's template, kept when the release is uninstalled: objects depend on it.

    Raises ValueError when the object holds what Helm would take for a template.
    """
    head = to_yaml({key: manifest[key] for key in ("apiVersion", "kind")})
    body = to_yaml({key: value for key, value in manifest.items() if key not in {"apiVersion", "kind", "metadata"}})
    if "{{" in body:
        raise ValueError("a description holds {{, which Helm would take for a template")
    aggregation = {
        key: value for key, value in manifest["metadata"]["labels"].items() if not key.startswith("app.kubernetes.io/")
    }
    metadata = (
        "metadata:\n"
        f"  name: {manifest['metadata']['name']}\n"
        "  annotations:\n"
        f'    {{{{- include "{chart}.crdAnnotations" . | nindent 4 }}}}\n'
        "  labels:\n"
        f'    {{{{- include "{chart}.labels" . | nindent 4 }}}}\n'
    )
    extra = "".join(f'    {key}: "{value}"\n' for key, value in aggregation.items())
    return head + metadata + extra + body


def guarded(template: str, condition: str) -> str:
    """The template under its header, rendered only when `condition` holds; an empty condition always does."""
    if not condition:
        return HEADER + template
    return f"{{{{- if {condition} }}}}\n{HEADER}{template}{{{{- end }}}}\n"
