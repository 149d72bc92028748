"""The options by which every verb of `pgwarden backup` is told where to look, written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from pgwarden.catalogue.contract import RetentionSettings
from pgwarden.cli.backup_source import DIRECT, Source, direct
from pgwarden.jobs.errors import TaskError


@dataclass(frozen=True)
class Place:
    """Which store and which archive in it are meant."""

    store: Annotated[
        str | None, typer.Option(help="s3://bucket/prefix, a folder (./x or /x), or a BackupStore's name.")
    ] = None
    cluster: Annotated[
        str | None, typer.Option(help="DatabaseCluster; of a bucket or folder that holds several: <namespace>/<name>.")
    ] = None
    policy: Annotated[str | None, typer.Option(help="BackupPolicy that names cluster, store and retention.")] = None
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace; by default the kubeconfig's.")
    ] = None
    endpoint: Annotated[
        str | None, typer.Option(help="URL of the S3 server; else AWS_ENDPOINT_URL, else Amazon's.")
    ] = None
    region: Annotated[str | None, typer.Option(help="Region of the bucket; else AWS_REGION, else us-east-1.")] = None
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file the server's certificate is checked against; else AWS_CA_BUNDLE.")
    ] = None
    virtual_hosted: Annotated[bool, typer.Option("--virtual-hosted", help="The bucket is named in the host name.")] = (
        False
    )
    credentials: Annotated[
        Path | None,
        typer.Option(help="Folder with access_key_id and secret_access_key; else AWS_ACCESS_KEY_ID and its like."),
    ] = None
    catalogue_key: Annotated[
        Path | None, typer.Option(help="Folder with the store's catalogue key: records are checked with it.")
    ] = None
    timeout: Annotated[float, typer.Option(help="Seconds that a Job in the cluster may take.")] = 3600

    @property
    def is_direct(self) -> bool:
        """Whether the store is opened here and not by a Job."""
        return self.store is not None and DIRECT.match(self.store) is not None

    @contextmanager
    def open(self, uid: str = "") -> Iterator[tuple[Source, RetentionSettings]]:
        """Where to ask, and the policy's retention, or the usual one. Raises TaskError."""
        if self.store is not None and self.is_direct:
            with direct(
                self.store,
                endpoint=self.endpoint,
                region=self.region,
                ca_file=self.ca_file,
                path_style=not self.virtual_hosted,
                credentials=self.credentials,
                catalogue_key=self.catalogue_key,
                cluster=self.cluster,
                uid=uid,
            ) as found:
                yield found, RetentionSettings()
            return
        from pgwarden.cli import backup_cluster

        cluster, store, retention = self.cluster, self.store, RetentionSettings()
        if self.policy is not None:
            its_cluster, its_store, retention = backup_cluster.policy(self.namespace, self.policy)
            cluster, store = cluster or its_cluster, store or its_store
        if cluster is None or store is None:
            raise TaskError(
                "ArchiveNotNamed",
                "it takes a store and a cluster to know which backups are meant",
                remedy="Name a BackupPolicy (--policy), or --store and --cluster; or a bucket: --store s3://bucket/x.",
            )
        yield backup_cluster.ClusterSource(self.namespace, cluster, store, self.timeout), retention


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """A verb that takes `place`, as one that takes the options of a Place."""
    hints = get_type_hints(command, include_extras=True)
    place_hints = get_type_hints(Place, include_extras=True)
    own = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name])
        for each in inspect.signature(command).parameters.values()
        if each.name != "place"
    ]
    shared = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=place_hints[each.name]
        )
        for each in fields(Place)
    ]

    @wraps(command)
    def run(**values: Any) -> None:
        place = Place(**{each.name: values.pop(each.name) for each in fields(Place)})
        command(place=place, **values)

    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in [*own, *shared]}
    return run
