"""From a pydantic model to the structural schema of a CustomResourceDefinition.

Structural schemas: Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions", section
"Specifying a structural schema". References are written out, `anyOf` with null becomes an optional field, titles are
dropped. What a structural schema cannot say, or what the API server could not bound when it estimates the cost of CEL
rules, is an error here instead of a surprise in a cluster.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
)
DROPPED = {"title", "$defs", "propertyNames"}
STRUCTURE = {"properties", "items", "additionalProperties"}


class SchemaError(Exception):
    """The models say something a CustomResourceDefinition must not say; the message lists every place."""


def structural(model: type[BaseModel], part: str) -> Schema:
    """The structural schema of one part ("spec" or "status") of a resource.

    Raises SchemaError naming every field that lacks a description or a bound, or uses what Kubernetes has no word for.
    """
    document = model.model_json_schema(by_alias=True)
    schema = convert(document["properties"][part], document.get("$defs", {}), part)
    if part == "status":
        schema = without_promises(schema)
    problems = complaints(schema, part, in_spec=part == "spec")
    if problems:
        raise SchemaError(f"{model.__name__}:\n  " + "\n  ".join(problems))
    return schema


def convert(schema: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    """One node and all beneath it, references written out."""
    schema = resolve(schema, definitions, path)
    unknown = {key for key in schema if not key.startswith("x-kubernetes-")} - set(KEPT) - DROPPED - STRUCTURE
    if "x-kubernetes-int-or-string" in schema:
        unknown -= {"anyOf"}
    if unknown:
        raise SchemaError(f"{path}: a CustomResourceDefinition has no {', '.join(sorted(unknown))}")
    result: Schema = {key: schema[key] for key in KEPT if key in schema}
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    if "x-kubernetes-int-or-string" in schema:
        del result["type"]
        result["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if result.get("type") == "integer":
        result.setdefault("format", "int64")
    if result.get("type") == "array":
        result["x-kubernetes-list-type"] = "atomic"
    for key, value in schema.items():
        if key.startswith("x-kubernetes-"):
            result[key] = value
    if "items" in schema:
        result["items"] = convert(schema["items"], definitions, f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = convert(schema["additionalProperties"], definitions, f"{path}{{}}")
    if "properties" in schema:
        result["properties"] = {
            name: convert(field, definitions, f"{path}.{name}") for name, field in schema["properties"].items()
        }
        for name, field in schema["properties"].items():
            if name not in schema.get("required", []) and not is_nullable(field):
                add_object_default(result["properties"][name])
    return result


def is_nullable(schema: Schema) -> bool:
    """Whether null, which is absence here, was meant to be told from an empty object."""
    return {"type": "null"} in schema.get("anyOf", [])


def add_object_default(schema: Schema) -> None:
    """Gives an optional object in which defaults would apply the default {}.

    The API server fills in defaults only inside objects that are there.
    """
    fields = schema.get("properties", {}).values()
    if not schema.get("required") and any("default" in field for field in fields):
        schema["default"] = {}


def resolve(schema: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    """`schema` with its reference and its "or null" replaced by what they stand for; words beside them win."""
    schema = copy.deepcopy(schema)
    if "anyOf" in schema and "x-kubernetes-int-or-string" not in schema:
        choices = [choice for choice in schema.pop("anyOf") if choice != {"type": "null"}]
        if len(choices) != 1:
            raise SchemaError(f"{path}: a field has one type, or that type and null")
        if schema.get("default", "") is None:
            del schema["default"]
        return resolve({**choices[0], **schema}, definitions, path)
    if "$ref" in schema:
        name = schema.pop("$ref").removeprefix("#/$defs/")
        return resolve({**definitions[name], **schema}, definitions, path)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    return schema


def without_promises(schema: Schema, *, keep_required: bool = False) -> Schema:
    """A status without defaults and required fields, so that any pgwarden may write less than another.

    Conditions keep what metav1.Condition requires, and other lists the keys they are merged by.
    """
    result = {key: value for key, value in schema.items() if key not in {"default", "required"}}
    if keep_required and "required" in schema:
        result["required"] = schema["required"]
    if "properties" in schema:
        result["properties"] = {name: without_promises(field) for name, field in schema["properties"].items()}
    if "additionalProperties" in schema:
        result["additionalProperties"] = without_promises(schema["additionalProperties"])
    if "items" in schema:
        keys = schema.get("x-kubernetes-list-map-keys", [])
        result["items"] = without_promises(schema["items"], keep_required=keys == ["type"])
        if keys and "required" not in result["items"]:
            result["items"]["required"] = list(keys)
    return result


def complaints(schema: Schema, path: str, *, in_spec: bool) -> list[str]:
    """What is missing in a converted schema: descriptions, maxima, ranges."""
    found = []
    kind = schema.get("type")
    if kind == "string" and not ({"maxLength", "enum"} & schema.keys()) and schema.get("format") != "date-time":
        found.append(f"{path}: a string needs a maximum length")
    if kind == "array" and "maxItems" not in schema:
        found.append(f"{path}: a list needs a maximum number of items")
    if "additionalProperties" in schema and "maxProperties" not in schema:
        found.append(f"{path}: a map needs a maximum number of entries")
    if kind == "integer" and in_spec and not {"minimum", "maximum"} <= schema.keys():
        found.append(f"{path}: an integer needs a minimum and a maximum")
    for name, field in schema.get("properties", {}).items():
        if not field.get("description"):
            found.append(f"{path}.{name}: a field needs a description")
        found += complaints(field, f"{path}.{name}", in_spec=in_spec)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            found += complaints(schema[key], path + mark, in_spec=in_spec)
    return found
