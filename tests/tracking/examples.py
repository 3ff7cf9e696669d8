"""Run directories written by hand."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from cosmos.config.experiment import load_params
from cosmos.run.directory import RunDir, open_run
from cosmos.run.gallery_tables import GalleryCell, GalleryPicture, GalleryTable, write_gallery_tables
from cosmos.run.labels import RunLabels
from cosmos.run.metrics import MetricsWriter
from cosmos.run.results import Results

ROOT = Path(__file__).parent.parent.parent
R1 = "image_to_text_R@1"
KEY = "0" * 40
"""A text with the form of an API key."""


def trained(path: Path, steps: int = 5, group: str = "", every_epochs: int = 0) -> RunDir:
    """A run of `steps` logged steps, ten apart; each second one ends an epoch with an evaluation."""
    begun(path, group, every_epochs)
    log(RunDir(path), 1, steps)
    return RunDir(path)


def begun(path: Path, group: str = "", every_epochs: int = 0) -> None:
    """A run before its first step."""
    overrides = {"pretrain": {"evaluate_every_epochs": every_epochs}}
    open_run(path, load_params(base=ROOT / "params.yaml", overrides=overrides))
    RunLabels(group, "pretrain", ("first try",)).write(RunDir(path))


def log(run: RunDir, first: int, last: int) -> None:
    metrics = MetricsWriter(run.metrics, 10 * (first - 1))
    for i in range(first, last + 1):
        metrics.log({"step": 10 * i, "epoch": i / 2, "samples": 320 * i, "loss": 5.0 - i, "seconds": i})
        if i % 2 == 0:
            metrics.log(evaluation(i))


def evaluation(i: int) -> dict[str, Any]:
    figures = {f"student/heldout/{R1}": 1 / i, "student/heldout/image_to_text_mean_rank": float(i)}
    return {"step": 10 * i, "epoch": i // 2, "evaluation": figures}


def measure(run: RunDir, recall: float) -> None:
    models = {"student": {R1: recall, "accuracy/cat": 0.5}, "teacher": {R1: recall / 2}}
    data = {"data/demo/heldout/manifest.json": "da7a0123" * 8}
    entry = {"num_images": 12, "data": data, "checkpoint": "published:cc3m", "models": models}
    Results(run.result_file("retrieval"), "retrieval").put("heldout", entry)


def save(run: RunDir, step: int) -> None:
    run.checkpoints.mkdir(exist_ok=True)
    run.checkpoint(step).write_bytes(b"weights")


def look(run: RunDir) -> None:
    """Galleries of one photograph, which can be read, and of another, which cannot."""
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "WEBP")
    uri = f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
    pictures = GalleryPicture(uri, "photograph 0"), GalleryPicture("", "photograph 1: cut off")
    rows: list[list[GalleryCell]] = [[picture, "a red star", 0.5] for picture in pictures]
    table = GalleryTable(["query", "candidate", "score"], rows)
    write_gallery_tables(run, {"retrieval/heldout": table})
