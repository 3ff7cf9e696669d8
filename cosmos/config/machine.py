"""Machine: where and how fast things run; nothing here decides a result.

From COSMOS_* variables, then `.env`, then an uncommitted `machine.yaml`; machine.example.yaml shows every
setting. pydantic-settings merges and validates them; they are read here, with their variables and lines, as
its own readers name neither in messages.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Secret, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cosmos.config.disk_reading import lexists
from cosmos.config.gpus import Gpu, GpuName
from cosmos.config.job_request import JobRequest
from cosmos.config.machine_variables import (
    Variable,
    env_file_variables,
    environment_variables,
    refuse_unknown,
    settings_of_variables,
)
from cosmos.config.section import Natural, Positive, Section, expand_home
from cosmos.config.settings_file import Layer, read_settings
from cosmos.config.site import SiteSettings
from cosmos.config.validation import MACHINE_LISTING, explain_validation
from cosmos.config.wandb import WandbSettings
from cosmos.errors import InputError

ClusterName = Literal["auto", "slurm", "local", "debug"]
JobCluster = Literal["slurm", "local", "debug"]
"""Cluster of a job, once it is decided which one `auto` is."""

MACHINE_YAML = Path("machine.yaml")
ENV_FILE = Path(".env")


def _refuse_no_folder(value: Any) -> Any:
    if value == "":
        raise ValueError("expected a folder; . is the current one")
    if re.search(r"\$[{A-Za-z_]", str(value)):
        raise ValueError("variables such as $HOME are not expanded here; write ~ or the path itself")
    return value


Folder = Annotated[Path, BeforeValidator(_refuse_no_folder), AfterValidator(expand_home)]


def _read_switch(value: Any) -> Any:
    """Return the setting that true or false meant when there were only two."""
    switch = str(value).lower()
    return {"true": "all", "false": "none"}.get(switch, value)


def _name_kinds(gpus: dict[str, Gpu]) -> dict[str, Gpu]:
    return {kind: gpu.model_copy(update={"kind": kind}) for kind, gpu in gpus.items()}


def default_cache_root() -> Path:
    """Return a folder in the user's home; one in the folder worked in where the user has no home."""
    try:
        return Path.home() / ".cache" / "cosmos-pretraining"
    except RuntimeError:
        return Path("cache")


ActivationCheckpointing = Annotated[Literal["none", "cheap", "all"], BeforeValidator(_read_switch)]
"""Activations that are not kept for the backward pass, but computed again."""


class Machine(Section, BaseSettings):
    """Settings of this machine: its folders, its resources, and the place where jobs run.

    Arguments win over COSMOS_* variables, those over .env, and that over machine.yaml. Raises InputError that
    names the variable, or the file and line, of each setting that does not fit.
    """

    model_config = SettingsConfigDict(case_sensitive=True)  # or else Workers would pass for workers

    data_root: Folder = Path("data")
    """folder of prepared datasets, one folder each"""
    source_root: Folder = Path()
    """folder that relative paths of sources (data.annotations, data.images, ...) start from"""
    datasets_root: Folder = Path("datasets")
    """folder of evaluation datasets; `cosmos datasets` shows what it expects there"""
    runs_root: Folder = Path("runs")
    """folder of run directories"""
    cache_root: Folder = default_cache_root()
    """folder for copies of remote shards and for downloaded checkpoints"""
    cached_shards: Positive = 32
    """copies of remote shards that are kept at a time"""
    storage_options: Secret[dict[str, Any]] = Secret({})
    """options of fsspec for remote shards, as JSON: endpoint, anonymous access, ..."""
    device: str = "auto"
    """torch device: cpu, cuda, cuda:1, ...; auto takes CUDA where there is one"""
    workers: Natural = 2
    """processes of a rank that make batches; 0: the training process itself"""
    augment_on: Literal["auto", "workers", "device"] = "auto"
    """place where colours and blur of image views are computed, with the same result to float error: the
    workers, or the device that trains (device); auto: the device where it is CUDA"""
    data_wait_minutes: Annotated[float, Field(ge=0)] = 5.0
    """minutes that pretraining waits for a disk, a network or a shard that is away, before it stops"""
    rank_wait_minutes: Annotated[float, Field(gt=0)] = 20.0
    """minutes that a rank waits for others that do not get on, before the run says which, and ends; a step
    has to take less"""
    threads: Natural = 0
    """threads of a rank's arithmetic on the CPU; 0: OMP_NUM_THREADS, or else its share of the usable cores"""
    micro_batches: Positive = 1
    """parts that a rank's batch is computed in, one after the other (exact: the gradients stay the same)"""
    activation_checkpointing: ActivationCheckpointing = "none"
    """activations that the backward pass computes again to save memory: none, the cheap ones (norms, GELU),
    or all of a block (least memory, most time); true means all"""
    compile: bool = False
    """compile the blocks of the transformers with torch.compile, all but their attention;
    activation_checkpointing cheap means all then"""
    checkpoint_every_steps: Natural = 0
    """steps between checkpoints; 0: by time alone"""
    checkpoint_every_minutes: Annotated[float, Field(gt=0)] = 10.0
    """minutes between checkpoints"""
    keep_checkpoints: Positive = 2
    """newest checkpoints that are kept"""
    evaluation_batch_size: Natural = 0
    """images or captions that are encoded at a time; 0: 32 on a CPU, 256 on a GPU"""
    window_batch_size: Natural = 0
    """windows of images that are encoded at a time in segmentation; 0: 4 on a CPU, 64 on a GPU"""
    evaluate_in: Literal["training", "job"] = "training"
    """place of evaluations while training: the training itself, which waits meanwhile, or a job of its own
    beside it, which measures the checkpoint (job): on Slurm with one process, here at low priority"""
    plan_errors: Literal["refuse", "warn"] = "refuse"
    """consequence of an error in the plan of a pretraining (`cosmos plan`) that is to be submitted to Slurm:
    it is not submitted (refuse), or the error is told and it is submitted all the same (warn)"""
    cluster: ClusterName = "auto"
    """place of pretraining and evaluation: a Slurm job (slurm), processes of their own on this machine
    (local), or the command itself (debug); auto: Slurm where one answers, or else the command itself"""
    slurm: JobRequest = JobRequest()
    """resources that a job requests, on Slurm and (as far as they apply) locally"""
    evaluation_slurm: JobRequest = JobRequest()
    """resources that the job beside a training requests (evaluate_in), where they are not those of one
    process of the training: another partition, a shorter limit"""
    gpus: Annotated[dict[GpuName, Gpu], AfterValidator(_name_kinds)] = {}
    """kinds of GPU beside those that are known, or with other figures, by short name, for `cosmos plan` and
    the share of the peak that training uses"""
    site: SiteSettings = SiteSettings()
    """network, power and prices of the machines that jobs run on, for `cosmos plan`"""
    study_storage: SecretStr = SecretStr("")
    """URL of the database that keeps the studies of sweeps (postgresql://...); empty: a file in each one's
    folder"""
    wandb: WandbSettings = WandbSettings()
    """settings of Weights & Biases, where runs are shown"""

    foreign_variables: tuple[str, ...] = ()
    """variables of other programs that begin with COSMOS_, with * for any text: COSMOS_DB_*"""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            layers = [*machine_layers(), Layer("arguments", values)]
            problems = explain_validation(error, Machine, MACHINE_LISTING, layers)
            raise InputError(f"settings of this machine:\n{problems}") from None
        refuse_unknown(machine_variables(), Machine, self.foreign_variables)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of settings: arguments, then the layers of this machine, the last one first."""
        layers = reversed(machine_layers())
        return init_settings, *(InitSettingsSource(settings_cls, layer.values) for layer in layers)

    def source(self, path: str) -> Path:
        """Return the place of a source of data, below source_root unless `path` is absolute."""
        return self.source_root / expand_home(Path(path))

    def dataset(self, name: str, split: str) -> Path:
        """Return the folder of a split of a prepared dataset."""
        return self.data_root / name / split


def machine_layers() -> list[Layer]:
    """Return the settings in machine.yaml, .env and the environment; later ones win.

    Raises InputError for a file or variable that cannot be read.
    """
    return [
        read_settings(MACHINE_YAML) if lexists(MACHINE_YAML) else Layer(str(MACHINE_YAML), {}),
        settings_of_variables(env_file_variables(ENV_FILE), Machine, str(ENV_FILE)),
        settings_of_variables(environment_variables(os.environ), Machine, "the environment"),
    ]


def machine_variables() -> list[Variable]:
    """Return the variables that begin with COSMOS_, in the environment and in .env."""
    return [*environment_variables(os.environ), *env_file_variables(ENV_FILE)]
