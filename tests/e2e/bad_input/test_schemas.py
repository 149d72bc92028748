"""The API server refuses unknown fields and wrong types at every place of every kind's spec."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from tests.support.cluster import ROOT, Cluster
from tests.support.place import Body

pytestmark = pytest.mark.timeout(600)

CRDS = sorted(path for path in (ROOT / "crds").glob("*.yaml") if path.stem not in {"kustomization", "roles"})
WRONG: dict[str, Any] = {"string": {"a": 1}, "integer": "many", "boolean": "maybe", "array": "one", "object": "flat"}
TEXTS = ("aaa", "1", "1d", "0/1", "1-1", "/aaa", "https://s3.example.com", "age1" + "q" * 58)
MOMENT = "2026-11-23T12:00:00Z"
Path = tuple[str, ...]


@dataclass(frozen=True)
class Way:
    """One way to write a kind some fields of which exclude or need each other; fields by their dotted paths."""

    without: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    """Field -> the value without which the API server would refuse the others."""


def moment(*without: str) -> tuple[str, ...]:
    """What a target goes without when it is given by the remaining one of time, lsn, xid and name."""
    return tuple(f"source.target.{name}" for name in without)


def only(target: str) -> tuple[str, ...]:
    """What spec.target goes without when it is that one."""
    return tuple(f"target.{each}" for each in TARGETS if each != target)


ONE_BACKUP = ("source.policyRef", "source.clusterRef", "source.storeRef", "source.target")
ARCHIVE = ("source.backupRef", "source.policyRef")
POLICY = ("source.backupRef", "source.clusterRef", "source.storeRef")
TARGETS = ("newInstance", "drill", "inPlace", "into")
DAILY = "0 3 * * *"
STORES = ("s3", "gcs", "azure", "claim")
SCHEDULES = ("schedules.full", "schedules.incremental", "schedules.logical", "verification.schedule", "drill")
WAYS: dict[str, tuple[Way, ...]] = {
    "backupstores": tuple(
        Way(
            tuple(other for other in STORES if other != each),
            {"s3.serverSideEncryption": "SSE-KMS"} if each == "s3" else {},
        )
        for each in STORES
    ),
    "databasebackups": (
        Way(("logical",), {"type": "Incremental"}),
        Way(("parent",), {"type": "Logical", "logical.format": "Directory"}),
    ),
    "backuppolicies": (Way((), {"logical.format": "Directory", **{f"{each}.schedule": DAILY for each in SCHEDULES}}),),
    "restorerequests": (
        Way((*ONE_BACKUP, *only("newInstance"))),
        Way((*ARCHIVE, *moment("lsn", "xid", "name"), *only("newInstance"))),
        Way((*ARCHIVE, *moment("time", "xid", "name"), *only("inPlace"))),
        Way((*ARCHIVE, *moment("time", "lsn", "name"), *only("drill"), "inspect")),
        Way((*POLICY, *moment("time", "lsn", "xid"), *only("into"), "inspect")),
    ),
}


def example(schema: Body) -> Any:
    """A value whose every optional field is given, so that each place can be made wrong."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object" if "properties" in schema:
            return {name: example(each) for name, each in schema["properties"].items()}
        case "object":
            return {"key": example(schema["additionalProperties"])}
        case "array":
            return [example(schema["items"])]
        case "integer":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "string" if schema.get("format") == "date-time":
            return MOMENT
        case _:
            pattern = schema.get("pattern", "")
            return next(text for text in TEXTS if re.search(pattern, text))


def places(schema: Body, at: Path = ()) -> Iterator[tuple[Path, Body]]:
    """Every place below a schema that has a type, by its path; a list's items are at `0`, a map's at `key`."""
    yield at, schema
    for name, each in schema.get("properties", {}).items():
        yield from places(each, (*at, name))
    if isinstance(schema.get("items"), dict):
        yield from places(schema["items"], (*at, "0"))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from places(schema["additionalProperties"], (*at, "key"))


def put(spec: Any, path: Path, value: Any) -> Any:
    """A copy of the spec with the value at the path."""
    changed = copy.deepcopy(spec)
    at = changed
    for step in path[:-1]:
        at = at[0] if step == "0" else at[step]
    at[0 if path[-1] == "0" else path[-1]] = value
    return changed


def written(path: Path) -> str:
    """A path as the API server writes it."""
    return "".join("[0]" if step == "0" else f".{step}" for step in ("spec", *path)).removeprefix(".")


def send(cluster: Cluster, kind: str, specs: Mapping[str, Any]) -> tuple[set[str], str]:
    """The names of the objects that the API server would take, and what it says to the others."""
    bodies = [
        {"apiVersion": "pgwarden.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        for name, spec in specs.items()
    ]
    command = ["create", "--dry-run=server", "--validate=strict", "--namespace=default", "--filename=-"]
    done = cluster.kubectl(*command, "--output=name", check=False, text=yaml.safe_dump_all(bodies))
    return {line.partition("/")[2] for line in done.stdout.splitlines()}, done.stderr


def place_of(schema: Body, dotted: str) -> tuple[Body, str]:
    """The properties among which a field stands, and its name."""
    *above, last = dotted.split(".")
    for name in above:
        schema = schema["properties"][name]
    return schema["properties"], last


@pytest.mark.parametrize(
    ("path", "way"),
    [(path, way) for path in CRDS for way in WAYS.get(path.stem, (Way(),))],
    ids=lambda value: getattr(value, "stem", None),
)
def test_a_wrong_type_or_an_unknown_field_is_refused_wherever_it_stands(
    cluster: Cluster, kinds: None, path: Any, way: Way
) -> None:
    crd = yaml.safe_load(path.read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for dotted in way.without:
        properties, name = place_of(schema, dotted)
        del properties[name]
    for dotted, value in way.needs.items():
        properties, name = place_of(schema, dotted)
        properties[name]["enum"] = [value]
    sound = example(schema)
    specs, sentences = {"sound": sound}, []
    for at, each in places(schema):
        if at and each.get("type") in WRONG:
            specs[f"type-{len(specs)}"] = put(sound, at, WRONG[each["type"]])
        if "properties" in each:
            specs[f"field-{len(specs)}"] = put(sound, (*at, "surprise"), 1)
            sentences.append(f'unknown field "{written((*at, "surprise"))}"')
    assert len(specs) > 20
    taken, said = send(cluster, crd["spec"]["names"]["kind"], specs)
    assert taken == {"sound"}, said
    for sentence in sentences:
        assert sentence in said


def test_a_refusal_names_the_field_and_what_it_takes(cluster: Cluster, kinds: None) -> None:
    spec = {"clusterRef": {"name": "a"}, "storeRef": {"name": "b"}, "maxRateKiB": "fast"}
    taken, said = send(cluster, "DatabaseBackup", {"x": spec})
    assert not taken
    assert "spec.maxRateKiB" in said and "must be of type integer" in said
