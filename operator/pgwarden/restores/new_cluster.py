"""The DatabaseCluster of a new instance: what has it watched, and lets it be backed up. Pure."""

from __future__ import annotations

from pgwarden.clusters.resource import DatabaseCluster
from pgwarden.jobs.render import Manifest, render
from pgwarden.restores.contract import PGDATA
from pgwarden.restores.plan import PORT, new_instance
from pgwarden.restores.render import shared_values
from pgwarden.restores.resource import RestoreRequest


def wants_cluster(request: RestoreRequest) -> bool:
    """Whether a DatabaseCluster is made for the new instance of a request that has one."""
    return new_instance(request).database_cluster


def database_cluster(request: RestoreRequest, original: DatabaseCluster) -> Manifest:
    """It has the original's roles, which came back with the data, and with their passwords of the restored moment."""
    name = new_instance(request).name
    return render(
        "restores/databasecluster.yaml.j2",
        host=f"{name}.{request.metadata.namespace}.svc",
        port=PORT,
        maintenance_database=original.spec.maintenance_database,
        credentials=original.spec.credentials.to_json(),
        data_directory=PGDATA,
        original=original.metadata.name,
        **shared_values(request),
    )


def not_made(request: RestoreRequest, why: str) -> str:
    """The finding about a DatabaseCluster that could not be made: the instance runs without it."""
    return (
        f"DatabaseCluster {new_instance(request).name} could not be made: {why}. The new instance runs all the same;"
        " create one, with copyOf, to have it watched and backed up"
    )
