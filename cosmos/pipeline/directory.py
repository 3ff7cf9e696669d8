"""Paths inside the folder that the stages of dvc.yaml fill; no other module spells them."""

from dataclasses import dataclass
from pathlib import Path

from cosmos.config.disk_reading import find_paths, is_file
from cosmos.run.directory import RunDir

CHECKPOINT_FILE = "checkpoint.pt"
"""Name of a finished pretraining's checkpoint, beside the files of its run that are kept."""

PIPELINES = Path("pipelines")
"""Folder of the folders of flows that have parameters of their own, in a workspace."""


@dataclass(frozen=True)
class PipelineDir:
    """Folder that `dvc repro` or a flow fills, and the places of its files."""

    folder: Path = Path("pipeline")

    @property
    def is_filled(self) -> bool:
        """True where stages have written into the folder, or it is the root's: no run or sweep looks so."""
        return self.folder == PIPELINE.folder or is_file(self.experiment) or is_file(self.identity)

    @property
    def parameters(self) -> Path:
        """File of the parameters of a flow, whole, as an experiment's file."""
        return self.folder / "params.yaml"

    @property
    def definition(self) -> Path:
        """File of the stages of a flow that has parameters of its own."""
        return self.folder / "dvc.yaml"

    def target(self, stage: str) -> str:
        """Return the name by which DVC finds a stage from the root of the workspace."""
        return stage if self == PIPELINE else f"{self.definition}:{stage}"

    @property
    def experiment(self) -> Path:
        """File of the resolved experiment."""
        return self.folder / "experiment.yaml"

    @property
    def identity(self) -> Path:
        """File of the parameters and fingerprints of code that decide the results of the stages."""
        return self.folder / "identity.yaml"

    @property
    def data(self) -> Path:
        """Folder of prepared datasets."""
        return self.folder / "data"

    def preview(self, dataset: str) -> Path:
        """Return the path of a picture of some training samples."""
        return self.data / dataset / "preview.png"

    @property
    def model(self) -> RunDir:
        """Folder of what is kept of the pretraining's run, under the same names."""
        return RunDir(self.folder / "model")

    @property
    def checkpoint(self) -> Path:
        """Checkpoint that is evaluated."""
        return self.model.path / CHECKPOINT_FILE

    def results(self, suite: str) -> Path:
        """Return the results file of a suite."""
        return self.folder / "results" / suite / f"{suite}.json"

    @property
    def page(self) -> Path:
        """Page of the report."""
        return self.folder / "report" / "report.html"

    @property
    def metrics(self) -> Path:
        """File of the figures that DVC shows and compares."""
        return self.folder / "metrics.json"

    @property
    def curves(self) -> Path:
        """File of the pretraining's curves, which DVC plots."""
        return self.folder / "curves.csv"


PIPELINE = PipelineDir()
"""Folder that the stages of the root's dvc.yaml fill, in a workspace."""


def list_pipelines() -> list[PipelineDir]:
    """Return the pipelines of the workspace that is worked in: that of `dvc repro`, then those of flows."""
    return [PIPELINE, *(PipelineDir(file.parent) for file in find_paths(PIPELINES, "*/dvc.yaml"))]
