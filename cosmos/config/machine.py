"""Machine: where and how fast things run; nothing here decides a result.

Read from COSMOS_* variables, then `.env`, then an uncommitted `machine.yaml`; machine.example.yaml shows
every setting.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from cosmos.config.experiment import read_mapping
from cosmos.config.job_request import JobRequest
from cosmos.config.validation import MACHINE_LISTING, explain_validation
from cosmos.config.wandb import WandbSettings
from cosmos.errors import InputError

ClusterName = Literal["auto", "slurm", "local", "debug"]

MACHINE_YAML = Path("machine.yaml")
SOURCES = "settings of this machine, from COSMOS_* variables, .env and machine.yaml"

Folder = Annotated[Path, AfterValidator(Path.expanduser)]


class Machine(BaseSettings):
    """Settings of this machine: its folders, its resources, and the place where jobs run."""

    model_config = SettingsConfigDict(
        env_prefix="COSMOS_",
        env_file=".env",
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    data_root: Folder = Path("data")
    """folder of prepared datasets, one folder each"""
    source_root: Folder = Path()
    """folder that relative paths of sources (data.annotations, data.images, ...) start from"""
    datasets_root: Folder = Path("datasets")
    """folder of evaluation datasets; `cosmos datasets` shows what it expects there"""
    runs_root: Folder = Path("runs")
    """folder of run directories"""
    cache_root: Folder = Path.home() / ".cache" / "cosmos-pretraining"
    """folder for copies of remote shards and for downloaded checkpoints"""
    cached_shards: Annotated[int, Field(gt=0)] = 32
    """copies of remote shards that are kept at a time"""
    storage_options: dict[str, Any] = {}
    """options of fsspec for remote shards, as JSON: endpoint, anonymous access, ..."""
    device: str = "auto"
    """torch device: cpu, cuda, cuda:1, ...; auto takes CUDA where there is one"""
    workers: Annotated[int, Field(ge=0)] = 2
    """processes of a rank that make batches; 0: the training process itself"""
    threads: Annotated[int, Field(ge=0)] = 0
    """threads of a rank's arithmetic on the CPU; 0: torch's own choice"""
    micro_batches: Annotated[int, Field(gt=0)] = 1
    """parts that a rank's batch is computed in, one after the other (exact: the gradients stay the same)"""
    activation_checkpointing: bool = False
    """recompute activations in the backward pass instead of keeping them"""
    compile: bool = False
    """compile the transformers with torch.compile"""
    checkpoint_every_steps: Annotated[int, Field(ge=0)] = 0
    """steps between checkpoints; 0: by time alone"""
    checkpoint_every_minutes: Annotated[float, Field(gt=0)] = 10.0
    """minutes between checkpoints"""
    keep_checkpoints: Annotated[int, Field(gt=0)] = 2
    """newest checkpoints that are kept"""
    evaluation_batch_size: Annotated[int, Field(ge=0)] = 0
    """images or captions that are encoded at a time; 0: 32 on a CPU, 256 on a GPU"""
    window_batch_size: Annotated[int, Field(ge=0)] = 0
    """windows of images that are encoded at a time in segmentation; 0: 4 on a CPU, 64 on a GPU"""
    cluster: ClusterName = "auto"
    """place of pretraining and evaluation: a Slurm job (slurm), processes of their own on this machine
    (local), or the command itself (debug); auto: Slurm where one answers, or else the command itself"""
    slurm: JobRequest = JobRequest()
    """resources that a job requests, on Slurm and (as far as they apply) locally"""
    study_storage: SecretStr = SecretStr("")
    """URL of the database that keeps the studies of sweeps (postgresql://...); empty: a file in each one's
    folder"""
    wandb: WandbSettings = WandbSettings()
    """settings of Weights & Biases, where runs are shown"""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(f"{SOURCES}:\n{explain_validation(error, MACHINE_LISTING)}") from None
        except SettingsError as error:
            raise InputError(f"{SOURCES}: {error}") from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of settings: arguments, then the environment, then .env, then machine.yaml."""
        values = read_mapping(MACHINE_YAML) if MACHINE_YAML.is_file() else {}
        return init_settings, env_settings, dotenv_settings, InitSettingsSource(settings_cls, values)

    def source(self, path: str) -> Path:
        """Return the place of a source of data, below source_root unless `path` is absolute."""
        return self.source_root / Path(path).expanduser()

    def dataset(self, name: str, split: str) -> Path:
        """Return the folder of a split of a prepared dataset."""
        return self.data_root / name / split
