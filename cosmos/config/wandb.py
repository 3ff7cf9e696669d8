"""Settings of Weights & Biases, a section of Machine."""

import os
from typing import Annotated, Literal

from pydantic import Field

from cosmos.config.section import Section

WandbMode = Literal["auto", "online", "offline", "disabled"]


ENVIRONMENT_MODES = ("online", "run", "offline", "dryrun", "disabled")
"""Values of WANDB_MODE that are used; of any other, W&B itself would record nothing."""


def environment_mode() -> str:
    """Return WANDB_MODE in small letters; "" where it is not set, or to no mode that is used."""
    mode = os.environ.get("WANDB_MODE", "").strip().lower()
    return mode if mode in ENVIRONMENT_MODES else ""


class WandbSettings(Section):
    """Project that runs are shown in, mode, and limits on what a command sends and waits for."""

    mode: WandbMode = "auto"
    """online, offline (files below the run directory, for `wandb sync`), or disabled; auto: online where an
    API key is configured, or else offline"""
    project: str = "cosmos"
    """project that runs are shown in"""
    entity: str = ""
    """team or user that the project belongs to; empty: the default of your account"""
    upload_checkpoints: bool = False
    """upload a run's last checkpoint, instead of recording its path alone"""
    upload_galleries: bool = False
    """upload the galleries that `cosmos report` shows: photographs, captions, and answers on them"""
    patience_seconds: Annotated[float, Field(gt=0)] = 30.0
    """seconds that a command may take longer, at its end, because W&B does"""

    @property
    def own_mode(self) -> str:
        """Mode by the setting or, in mode auto, by WANDB_MODE; auto where neither says."""
        return self.mode if self.mode != "auto" else environment_mode() or "auto"

    @property
    def is_disabled(self) -> bool:
        """True when W&B is disabled."""
        return self.own_mode == "disabled"

    @property
    def is_asked_for(self) -> bool:
        """True when the settings or the environment ask for W&B; else nothing is said of it offline."""
        has_key = self.own_mode == "auto" and bool(os.environ.get("WANDB_API_KEY"))
        return self.mode != "auto" or has_key or self.own_mode in ("online", "run")
