"""Galleries of a run in Weights & Biases, as tables with pictures, where the settings ask for that."""

import logging

from cosmos.config.machine import Machine
from cosmos.errors import CosmosError
from cosmos.report.galleries.content import Galleries
from cosmos.report.gallery_tables import gallery_tables
from cosmos.run.directory import RunDir
from cosmos.run.gallery_tables import write_gallery_tables
from cosmos.tracking.mirror import mirroring

logger = logging.getLogger(__name__)


def mirror_galleries(run: RunDir, galleries: Galleries, machine: Machine) -> None:
    """Keep the galleries of a run in its directory, and show them in W&B, if `wandb.upload_galleries` is set.

    A report is written all the same where the directory cannot be.
    """
    if not machine.wandb.upload_galleries or machine.wandb.is_disabled:
        return
    try:
        with mirroring(run, machine.wandb):
            write_gallery_tables(run, gallery_tables(galleries))
    except (CosmosError, OSError) as error:
        logger.warning("W&B is not shown the galleries of %s: %s", run.path, error)
