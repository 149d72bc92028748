"""The base of every resource model, and the bounded string types their fields are made of.

Every string, list and map of a resource has a maximum: the API server estimates the cost of CEL rules from
those maxima and refuses a CustomResourceDefinition whose rules could become too expensive.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from pgwarden.api.names import to_api_name
from pgwarden.api.quantities import QUANTITY

GROUP = "pgwarden.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

# DNS-1123 label and subdomain, Kubernetes API conventions ("Object Names and IDs").
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

LabelName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
DataKey = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
HostName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-_.:a-zA-Z0-9]+$")]
ImageName = Annotated[str, StringConstraints(min_length=1, max_length=512)]
# A resource quantity may be written as a number (`cpu: 1`), as in a pod's spec.
Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    StringConstraints(min_length=1, max_length=32, pattern=QUANTITY),
    Field(json_schema_extra={"x-kubernetes-int-or-string": True}),
]


def checked_identifier(name: str) -> str:
    """`name`, unless PostgreSQL would cut it: another database or role may bear what is left. Raises ValueError."""
    size = len(name.encode())
    if size > 63:
        raise ValueError(f"the name has {size} bytes, and PostgreSQL cuts names at 63 bytes")
    return name


# PostgreSQL cuts identifiers at NAMEDATALEN - 1 = 63 bytes; any character but NUL is allowed in them.
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=63), AfterValidator(checked_identifier)]
Word = Annotated[str, StringConstraints(max_length=63)]
Sentence = Annotated[str, StringConstraints(max_length=1024)]
Text = Annotated[str, StringConstraints(max_length=32768)]
Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
]
LSN = Annotated[str, StringConstraints(max_length=17, pattern=r"^[0-9A-F]{1,8}/[0-9A-F]{1,8}$")]
SystemIdentifier = Annotated[str, StringConstraints(max_length=20, pattern=r"^[0-9]+$")]


class Model(BaseModel):
    """A part of a resource: camelCase outside, snake_case inside; unknown fields are ignored when read,

    because an older pgwarden must be able to read an object that a newer one has written.
    """

    model_config = ConfigDict(
        alias_generator=to_api_name, populate_by_name=True, extra="ignore", use_attribute_docstrings=True
    )

    def to_json(self) -> dict[str, Any]:
        """The shape the API server stores: aliases, no nulls, times as RFC 3339."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Column(Model):
    """One printer column of `kubectl get`; a priority above 0 shows it with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


class KindInfo(Model):
    """What a CustomResourceDefinition says of a kind beside its schema."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...] = ("pgwarden",)
    columns: tuple[Column, ...] = ()
    summary: str


class ObjectMeta(Model):
    """The part of a Kubernetes object's metadata that pgwarden reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Resource(Model):
    """A whole object of one kind; subclasses add `spec` and `status` and name their kind in INFO."""

    INFO: ClassVar[KindInfo]

    metadata: ObjectMeta

    @classmethod
    def of(cls, body: dict[str, Any]) -> Self:
        """Reads an object as the API server gave it. Raises pydantic.ValidationError."""
        return cls.model_validate(body)
