"""The demo world: procedural, deterministic by seed, for a laptop without data or network."""

from pathlib import Path
from typing import Literal

from cosmos.data.demo.captions import annotate
from cosmos.data.demo.draw import draw, jpeg
from cosmos.data.demo.evaluation_sets import write_sets
from cosmos.data.demo.scene import ALL_PAIRS, TRAIN_PAIRS, draw_count, generator, make_scene
from cosmos.data.sample import Sample
from cosmos.params import DataParams

Split = Literal["train", "heldout"]


def draw_sample(params: DataParams, split: Split, index: int) -> Sample:
    """One scene with its captions: a pure function of the parameters, the split and the index.

    Training scenes lack some pairs of colour and shape that held-out scenes have (`scene.HELD_OUT_PAIRS`).
    Raises ValueError for another split or a negative index.
    """
    if split not in ("train", "heldout") or index < 0:
        raise ValueError(f"demo world: no sample {split!r} {index}; ask for train or heldout, from 0 on")
    rng = generator(params.seed, split, index)
    scene = make_scene(rng, TRAIN_PAIRS if split == "train" else ALL_PAIRS, draw_count(rng))
    annotation = annotate(scene, rng)
    return Sample(f"{split}-{index:06d}", jpeg(draw(scene, params.demo.image_size, rng)), dict(annotation))


def write_evaluation_sets(params: DataParams, folder: Path) -> None:
    """Held-out datasets for segmentation, classification and perception, in folders of `folder`.

    Does nothing when they are complete. Raises ValueError when `folder` is a file.
    """
    write_sets(folder, params.demo.image_size, params.seed)
