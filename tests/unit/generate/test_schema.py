"""What the CRDs promise, and what the generator refuses to put into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import yaml
from pydantic import Field, create_model

from hack.generate.crd import SIZE_LIMIT, custom_resource_definition
from hack.generate.schema import Schema, SchemaError, structural
from pgwarden.api.model import Model, Quantity, Resource
from pgwarden.backups.resource import DatabaseBackup
from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.kube.types import OWN_KINDS
from pgwarden.restores.resource import RestoreRequest
from pgwarden.stores.resource import BackupStore

pytestmark = pytest.mark.unit

CRDS = Path(__file__).parents[3] / "crds"
EVERY_KIND = pytest.mark.parametrize("resource", OWN_KINDS, ids=lambda resource: resource.INFO.kind)


def nodes(schema: Schema, path: str = "") -> list[tuple[str, Schema]]:
    """Every node of a schema with its path."""
    found = [(path, schema)]
    for name, field in schema.get("properties", {}).items():
        found += nodes(field, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            found += nodes(schema[key], f"{path}[]")
    return found


def kind_with(spec: type[Model]) -> type[Resource]:
    """A kind whose spec is `spec`."""
    return create_model("Example", __base__=Resource, spec=(spec, ...))


@EVERY_KIND
def test_the_crd_in_the_tree_is_what_the_model_says(resource: type[Resource]) -> None:
    written = yaml.safe_load((CRDS / f"{resource.INFO.plural}.yaml").read_text())
    assert written == custom_resource_definition(resource)


@EVERY_KIND
def test_a_crd_is_far_from_what_client_side_apply_cannot_carry(resource: type[Resource]) -> None:
    assert (CRDS / f"{resource.INFO.plural}.yaml").stat().st_size < SIZE_LIMIT / 2


@EVERY_KIND
def test_a_status_demands_nothing_but_list_keys_and_what_a_condition_needs(resource: type[Resource]) -> None:
    demanding = {path: node["required"] for path, node in nodes(structural(resource, "status")) if "required" in node}
    assert demanding.pop(".conditions[]") == ["type", "status", "reason", "lastTransitionTime"]
    assert all(required == ["name"] for required in demanding.values())
    assert not [path for path, node in nodes(structural(resource, "status")) if "default" in node]


@EVERY_KIND
def test_no_word_of_pydantic_is_left_in_a_crd(resource: type[Resource]) -> None:
    text = (CRDS / f"{resource.INFO.plural}.yaml").read_text()
    assert not [word for word in ("$ref", "$defs", "title:", "const:", "propertyNames") if word in text]


def test_defaults_inside_an_optional_object_apply_when_it_is_left_out() -> None:
    spec = structural(DatabaseCluster, "spec")["properties"]
    assert spec["tls"]["default"] == {}
    assert spec["tls"]["properties"]["mode"]["default"] == "prefer"


def test_an_object_whose_absence_means_something_gets_no_default() -> None:
    spec = structural(BackupStore, "spec")["properties"]
    assert not [name for name in ("s3", "claim", "encryption") if "default" in spec[name]]


def test_a_quantity_may_be_a_number_or_a_string() -> None:
    size = structural(RestoreRequest, "spec")["properties"]["target"]["properties"]["newInstance"]["properties"][
        "storage"
    ]["properties"]["size"]
    assert size["x-kubernetes-int-or-string"] is True
    assert size["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert "type" not in size


def test_immutability_covers_every_field_of_a_backup_but_suspend_cancel_expire_and_pinned() -> None:
    spec = structural(DatabaseBackup, "spec")
    rule = spec["x-kubernetes-validations"][0]["rule"]
    free = {name for name in spec["properties"] if f"self.{name} == oldSelf.{name}" not in rule}
    assert free == {"suspend", "cancel", "expire", "pinned"}


def test_immutability_covers_every_field_of_a_restore_but_what_is_wished_of_it_later() -> None:
    spec = structural(RestoreRequest, "spec")
    rule = spec["x-kubernetes-validations"][0]["rule"]
    free = {name for name in spec["properties"] if f"self.{name} == oldSelf.{name}" not in rule}
    assert free == {"suspend", "cancel", "proceed", "discardOld"}


class Silent(Model):
    size: Quantity


class Endless(Model):
    text: str
    """A text without a maximum."""
    names: list[Annotated[str, Field(max_length=3)]]
    """A list without a maximum."""
    number: int
    """A number without a range."""


class Either(Model):
    value: Annotated[str, Field(max_length=3)] | int
    """Two types at once."""


def test_a_field_without_a_description_is_refused_by_its_path() -> None:
    with pytest.raises(SchemaError, match=r"spec\.size: a field needs a description"):
        structural(kind_with(Silent), "spec")


def test_everything_without_a_bound_is_named_at_once() -> None:
    with pytest.raises(SchemaError) as refusal:
        structural(kind_with(Endless), "spec")
    assert "spec.text: a string needs a maximum length" in str(refusal.value)
    assert "spec.names: a list needs a maximum number of items" in str(refusal.value)
    assert "spec.number: an integer needs a minimum and a maximum" in str(refusal.value)


def test_a_field_of_two_types_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"spec\.value: a field has one type"):
        structural(kind_with(Either), "spec")
