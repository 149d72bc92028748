"""JSON schemas for kubeconform without a download: `python -m hack.lint.json_schemas FOLDER`.

Kubernetes' own kinds come from the OpenAPI documents inside the Go module k8s.io/kubernetes, at the version that the
development cluster pins; our kinds from crds/. A field that no schema knows is refused, as the API server does for
`kubectl apply`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "hack/cluster/go/kubernetes"
REFERENCE = "#/components/schemas/"
# For kubeconform's -schema-location, beneath the folder.
FILE_NAME = "{{ .Group }}_{{ .ResourceAPIVersion }}_{{ .ResourceKind }}.json"

Schema = dict[str, Any]


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in (*kubernetes_schemas(openapi_folder()), *own_schemas(ROOT / "crds")):
        (folder / name).write_text(json.dumps(schema))
    return 0


def openapi_folder() -> Path:
    """Folder with one OpenAPI v3 document for each API group and version."""
    command = ["go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]
    module = subprocess.run(command, cwd=MODULE, check=True, capture_output=True, text=True).stdout.strip()
    if not module:
        subprocess.run(["go", "mod", "download", "k8s.io/kubernetes"], cwd=MODULE, check=True)
        module = subprocess.run(command, cwd=MODULE, check=True, capture_output=True, text=True).stdout.strip()
    return Path(module) / "api/openapi-spec/v3"


def file_name(group: str, version: str, kind: str) -> str:
    """As kubeconform makes it of FILE_NAME: the kind in small letters, the core group named like its version."""
    return f"{group or version}_{version}_{kind.lower()}.json"


def kubernetes_schemas(folder: Path) -> Iterator[tuple[str, Schema]]:
    """File name and schema of every kind of every group."""
    for document in sorted(folder.glob("*__*_openapi.json")):
        components: dict[str, Schema] = json.loads(document.read_text()).get("components", {}).get("schemas", {})
        for name, component in components.items():
            for kind in component.get("x-kubernetes-group-version-kind", []):
                if f"__{kind['version']}_openapi" not in document.name or not belongs(document, kind["group"]):
                    continue
                definitions: dict[str, Schema] = {}
                collect(name, components, definitions)
                schema = {"$ref": f"#/definitions/{name}", "definitions": definitions}
                yield file_name(kind["group"], kind["version"], kind["kind"]), schema


def belongs(document: Path, group: str) -> bool:
    """Whether a document is that of the group; shared kinds such as DeleteOptions claim every group."""
    return document.name.startswith(f"apis__{group}__" if group else "api__")


def collect(name: str, components: dict[str, Schema], definitions: dict[str, Schema]) -> None:
    """Adds a component and all it refers to."""
    if name in definitions:
        return
    references: set[str] = set()
    definitions[name] = {}
    definitions[name] = closed(components[name], references)
    for reference in references:
        collect(reference, components, definitions)


def closed(node: Any, references: set[str]) -> Any:
    """A schema with references into `definitions`, in which objects have no fields but those named."""
    if isinstance(node, list):
        return [closed(item, references) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: closed(value, references) for key, value in node.items()}
    target = result.get("$ref")
    if isinstance(target, str) and target.startswith(REFERENCE):
        references.add(target.removeprefix(REFERENCE))
        result["$ref"] = target.replace(REFERENCE, "#/definitions/")
    preserves = "x-kubernetes-preserve-unknown-fields" in result
    if isinstance(result.get("properties"), dict) and "additionalProperties" not in result and not preserves:
        result["additionalProperties"] = False
    return result


def own_schemas(folder: Path) -> Iterator[tuple[str, Schema]]:
    """File name and schema of each of our kinds."""
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                schema = closed(version["schema"]["openAPIV3Schema"], set())
                schema["properties"]["metadata"] = {"type": "object"}
                yield file_name(spec["group"], version["name"], spec["names"]["kind"]), schema


if __name__ == "__main__":
    sys.exit(main())
