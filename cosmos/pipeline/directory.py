"""Paths inside the folder that the stages of dvc.yaml fill; no other module spells them."""

from dataclasses import dataclass
from pathlib import Path

from cosmos.run.directory import RunDir

CHECKPOINT_FILE = "checkpoint.pt"
"""Name of a finished pretraining's checkpoint, beside the files of its run that are kept."""


@dataclass(frozen=True)
class PipelineDir:
    """Folder that `dvc repro` fills, and the places of its files."""

    folder: Path = Path("pipeline")

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
