"""Demo world: procedural scenes, drawn and described by a seed, for a laptop without data or network.

A `scene` is data; `drawing` makes a picture or a mask of it, `captions` describe it, and `evaluation_sets`
are small datasets of scenes for the evaluation suites.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from cosmos.config.params import DataParams
from cosmos.data.demo_world.captions import describe_scene
from cosmos.data.demo_world.drawing import draw_scene, encode_jpeg
from cosmos.data.demo_world.evaluation_sets import are_sets_written, write_all_sets
from cosmos.data.demo_world.scene import make_scene
from cosmos.data.sample import Sample

SplitName = Literal["train", "heldout"]


def draw_sample(params: DataParams, split: SplitName, index: int) -> Sample:
    """Draw a scene and describe it: a pure function of seed, split and index."""
    rng = np.random.default_rng([params.seed, ("train", "heldout").index(split), index])
    scene = make_scene(rng)
    annotation = describe_scene(scene, rng)
    return Sample(
        f"{split}-{index:06d}", encode_jpeg(draw_scene(scene, params.demo.image_size, rng)), dict(annotation)
    )


def write_evaluation_sets(params: DataParams, folder: Path) -> None:
    """Write datasets for segmentation, classification and perception below `folder`, unless that is done."""
    write_all_sets(folder, params.demo.image_size, params.seed)


def are_evaluation_sets_written(params: DataParams, folder: Path) -> bool:
    """Return True when `write_evaluation_sets` has nothing to do."""
    return are_sets_written(folder, params.demo.image_size, params.seed)
