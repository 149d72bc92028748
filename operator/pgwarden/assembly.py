"""Puts the operator together: this is the one place that knows all rooms."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pgwarden.archiving.board import ArchiverBoard
from pgwarden.archiving.handlers import ArchiverKeeper
from pgwarden.backups.handlers import BackupController
from pgwarden.clusters.handlers import ClusterController
from pgwarden.kube.config import read_config
from pgwarden.kube.context import OperatorContext
from pgwarden.kube.controller import Background, Controller
from pgwarden.kube.process import run
from pgwarden.logs import configure
from pgwarden.migrations.handlers import MigrationController
from pgwarden.monitoring.board import ObservationBoard
from pgwarden.monitoring.handlers import MonitorKeeper
from pgwarden.policies.handlers import PolicyController
from pgwarden.restores.abandoned_handlers import AbandonedRestores
from pgwarden.restores.handlers import RestoreController
from pgwarden.stores.handlers import StoreController


def assemble(context: OperatorContext) -> tuple[list[Controller], list[Background]]:
    """All controllers, and what works beside them."""
    board, archivers = ObservationBoard(), ArchiverBoard()
    controllers: list[Controller] = [
        ClusterController(context, board, AbandonedRestores(context)),
        StoreController(context),
        MigrationController(context),
        BackupController(context),
        PolicyController(context, archivers),
        RestoreController(context),
    ]
    return controllers, [MonitorKeeper(context, board), ArchiverKeeper(context, archivers)]


def main(config_file: Path) -> int:
    """Runs the operator. Raises what `read_config` raises."""
    config = read_config(config_file)
    configure(config.log_level)
    return asyncio.run(run(config, assemble))
