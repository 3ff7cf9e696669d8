"""An untrained model of a few numbers, and pictures of one colour to measure it on."""

from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from cosmos.config.experiment import Experiment, merge_sections
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.sample import Sample
from cosmos.model.checkpoints import ModelConfig
from cosmos.run.directory import RunDir
from tests.evaluation.examples import COLOURS, image_bytes, write_images, write_split
from tests.model.examples import write_checkpoint

SIZES = {"width": 16, "layers": 1}
TINY = {
    "data": {"name": "colours"},
    "views": {"image_size": 16, "local_size": 8},
    "model": {
        "inline": {
            "embed_dim": 16,
            "vision": {**SIZES, "head_width": 8, "patch_size": 8},
            "text": {**SIZES, "heads": 2},
        }
    },
    "evaluate": {
        "classification": {
            "datasets": ["colours"],
            "own": {"colours": {"images": "classes"}, "none": {"images": "nowhere"}},
        }
    },
}


def make_place(folder: Path) -> None:
    """A held-out split, class folders, a run whose two models differ, and its experiment's file."""
    samples = [Sample(colour, image_bytes(colour), {"captions": [colour]}) for colour in COLOURS]
    write_split(folder / "data" / "colours" / "heldout", samples)
    write_images(folder / "classes", {f"{colour}/1.png": colour for colour in COLOURS})
    write_run(folder / "runs" / "tiny", seed=0)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))


def write_flags(folder: Path) -> dict[str, Any]:
    """Images and their masks; returns the parameters of their segmentation."""
    write_images(folder / "images", {f"{colour}.png": colour for colour in COLOURS})
    (folder / "masks").mkdir()
    for label, colour in enumerate(COLOURS):
        Image.new("L", (12, 10), label).save(folder / "masks" / f"{colour}.png")
    (folder / "classes.txt").write_text("".join(f"{colour}\n" for colour in COLOURS))
    described = {"classes": "classes.txt", "images": "images", "masks": "masks", "image_suffix": ".png"}
    return {"datasets": ["flags"], "own": {"flags": {**described, "short_side": 16}}}


def params(**evaluate: Any) -> Params:
    return Params.model_validate(
        merge_sections(merge_sections(Params().model_dump(), TINY), {"evaluate": evaluate})
    )


def experiment(**evaluate: Any) -> Experiment:
    return Experiment("tiny", params(**evaluate), {}, "", "", "")


def write_run(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = ModelConfig.of(params())
    write_checkpoint(RunDir(path).checkpoint(3), config.build(), config.build(), config, epoch=1)


def here(folder: Path) -> Machine:
    return Machine(
        data_root=folder / "data", source_root=folder, runs_root=folder / "runs", device="cpu", workers=0
    )
