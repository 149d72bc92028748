"""The schemas that manifests are held against know every field, and refuse the others."""

from __future__ import annotations

from typing import Any

import pytest

from hack.generate.output import ROOT
from hack.lint.json_schemas import closed, collect, file_name, own_schemas
from pgwarden.kube.types import OWN_KINDS

pytestmark = pytest.mark.unit


def test_an_object_takes_no_field_but_its_own() -> None:
    schema = closed({"type": "object", "properties": {"name": {"type": "string"}}}, set())
    assert schema["additionalProperties"] is False


def test_a_map_and_an_object_that_keeps_unknown_fields_stay_open() -> None:
    of_strings = {"type": "object", "additionalProperties": {"type": "string"}}
    assert closed(of_strings, set()) == of_strings
    preserving = {"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": True}
    assert "additionalProperties" not in closed(preserving, set())


def test_what_a_component_refers_to_comes_along_also_in_circles() -> None:
    components: dict[str, dict[str, Any]] = {
        "Tree": {"type": "object", "properties": {"children": {"items": {"$ref": "#/components/schemas/Leaf"}}}},
        "Leaf": {"type": "object", "properties": {"parent": {"$ref": "#/components/schemas/Tree"}}},
        "Stone": {"type": "object"},
    }
    definitions: dict[str, dict[str, Any]] = {}
    collect("Tree", components, definitions)
    assert definitions.keys() == {"Tree", "Leaf"}
    assert definitions["Leaf"]["properties"]["parent"] == {"$ref": "#/definitions/Tree"}


def test_each_of_our_kinds_has_a_schema_under_the_name_kubeconform_asks_for() -> None:
    schemas = dict(own_schemas(ROOT / "crds"))
    assert "pgwarden.dev_v1alpha1_databasecluster.json" in schemas
    assert len(schemas) == len(OWN_KINDS)
    assert all(schema["additionalProperties"] is False for schema in schemas.values())
    assert file_name("", "v1", "Pod") == "v1_v1_pod.json"
