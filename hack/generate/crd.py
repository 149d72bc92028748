"""CustomResourceDefinitions from the resource models."""

from __future__ import annotations

from typing import Any

import yaml

from hack.generate.schema import SchemaError, structural
from pgwarden.api.model import GROUP, VERSION, Column, Resource

# Client-side apply keeps the whole object in an annotation, and all annotations together may hold this many bytes.
SIZE_LIMIT = 262_144
LABELS = {"app.kubernetes.io/name": "pgwarden", "app.kubernetes.io/component": "crds"}


def custom_resource_definition(resource: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind.

    Raises SchemaError when its model says what Kubernetes cannot express, or when it is too large to be applied.
    """
    info = resource.INFO
    schema = {
        "description": info.summary,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{info.kind}."},
            "metadata": {"type": "object"},
            "spec": structural(resource, "spec"),
            "status": structural(resource, "status"),
        },
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{info.plural}.{GROUP}", "labels": LABELS},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": info.kind,
                "listKind": f"{info.kind}List",
                "plural": info.plural,
                "singular": info.kind.lower(),
                "shortNames": list(info.short_names),
                "categories": list(info.categories),
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [printer_column(column) for column in info.columns],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }
    size = len(to_yaml(definition).encode())
    if size >= SIZE_LIMIT:
        raise SchemaError(f"{info.kind}: {size} bytes of YAML; client-side apply allows {SIZE_LIMIT}")
    return definition


def printer_column(column: Column) -> dict[str, Any]:
    """One column of `kubectl get`."""
    result: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.priority:
        result["priority"] = column.priority
    if column.description:
        result["description"] = column.description
    return result


class Dumper(yaml.SafeDumper):
    """Writes lists indented, long texts on one line, and never an alias."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Texts of several lines as blocks."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, represent_text)


def to_yaml(value: object) -> str:
    """YAML as it stands in the repository: keys in the order they were made, lines unbroken."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10_000)
