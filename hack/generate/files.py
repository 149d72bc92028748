"""Every generated file, and what it is made from."""

from __future__ import annotations

from typing import Any

from hack.generate.crd import custom_resource_definition, to_yaml
from hack.generate.health import argocd_patch, flux_expressions
from hack.generate.output import HEADER
from hack.generate.rbac import rules_document
from hack.generate.reference import api_reference
from pgwarden.kube.types import OWN_KINDS


def generated_files() -> dict[str, str]:
    """Path, relative to the repository -> content. Raises SchemaError when a model cannot be expressed."""
    files = {}
    for resource in OWN_KINDS:
        definition = custom_resource_definition(resource)
        name = f"{resource.INFO.plural}.yaml"
        files[f"crds/{name}"] = HEADER + to_yaml(definition)
        files[f"charts/pgwarden/templates/crds/{name}"] = chart_template(definition, "pgwarden", ".Values.crds.enabled")
        files[f"charts/pgwarden-crds/templates/crds/{name}"] = chart_template(definition, "pgwarden-crds", "")
    files["crds/kustomization.yaml"] = HEADER + to_yaml(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"{resource.INFO.plural}.yaml" for resource in OWN_KINDS],
        }
    )
    rules = HEADER + to_yaml(rules_document())
    files["charts/pgwarden/files/rules.yaml"] = rules
    files["charts/pgwarden-crds/files/rules.yaml"] = rules
    files["manifests/health/argocd-cm.yaml"] = argocd_patch()
    files["manifests/health/flux.yaml"] = flux_expressions()
    files["docs/reference/api.md"] = api_reference()
    return files


def chart_template(definition: dict[str, Any], chart: str, condition: str) -> str:
    """A CRD as a template of a chart: kept when the release is uninstalled, so that no object is lost with it.

    Raises ValueError when the definition holds what Helm would take for a template.
    """
    head = to_yaml({key: definition[key] for key in ("apiVersion", "kind")})
    spec = to_yaml({"spec": definition["spec"]})
    if "{{" in spec:
        raise ValueError("a description holds {{, which Helm would take for a template")
    metadata = (
        "metadata:\n"
        f"  name: {definition['metadata']['name']}\n"
        "  annotations:\n"
        f'    {{{{- include "{chart}.crdAnnotations" . | nindent 4 }}}}\n'
        "  labels:\n"
        f'    {{{{- include "{chart}.labels" . | nindent 4 }}}}\n'
    )
    body = HEADER + head + metadata + spec
    return f"{{{{- if {condition} }}}}\n{body}{{{{- end }}}}\n" if condition else body
