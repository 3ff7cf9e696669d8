"""Pictures of a batch: views and captions of a few samples, as the first step of a run got them."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.batch import Batch
from cosmos.data.image_crops import denormalise
from cosmos.data.loader import draw_first_samples
from cosmos.data.readable import ReadableSamples
from cosmos.data.shards.samples import ShardedSamples
from cosmos.data.tokenizer import END_OF_TEXT
from cosmos.errors import CosmosError, summarize_error
from cosmos.report.training_section import BatchPictures, SampleViews
from cosmos.run.dataset_version import refuse_other_data
from cosmos.run.directory import RunDir
from cosmos.stages.pretrain_data import recorded_damage
from cosmos.stages.run_opening import read_dataset_version

NUM_SHOWN_SAMPLES = 4
"""Samples of a batch that are shown."""

PICTURE_QUALITY = 85
"""Quality of a view's WebP."""


def picture_batch(run: RunDir, params: Params, machine: Machine) -> BatchPictures:
    """Return the first samples of the first step of a run, or the reason why they cannot be drawn again."""
    try:
        refuse_other_data(run, read_dataset_version(params, machine))
        samples = ShardedSamples(machine.dataset(params.data.name, "train"), machine)
        left_out = recorded_damage(run, samples) if exists(run.data) else ()
        data = ReadableSamples.of(samples, left_out, params)
        return BatchPictures(views_of_samples(draw_first_samples(data, params, NUM_SHOWN_SAMPLES)))
    except (CosmosError, OSError) as error:
        return BatchPictures(reason=f"The samples cannot be drawn again: {summarize_error(error)}")


def views_of_samples(batch: Batch) -> list[SampleViews]:
    """Return the views of each sample of a batch as pictures, and its captions as their tokens read."""
    return [
        SampleViews(
            key,
            [encode_view(crop) for crop in batch.global_crops[place]],
            [encode_view(crop) for crop in batch.local_crops[place]],
            [read_tokens(tokens) for tokens in batch.tokens[place]],
        )
        for place, key in enumerate(batch.keys)
    ]


def encode_view(crop: Tensor) -> bytes:
    """Return a normalised view (3, S, S) as WebP."""
    levels: NDArray[np.float32] = denormalise(crop).permute(1, 2, 0).numpy()
    content = BytesIO()
    pixels = np.asarray(levels * 255 + 0.5).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(content, "WEBP", quality=PICTURE_QUALITY)
    return content.getvalue()


def read_tokens(tokens: Tensor) -> str:
    """Return the text of a caption's tokens (L,), without those of start and end."""
    from open_clip.tokenizer import decode

    ids = tokens[1:]
    return str(decode(ids[: int((ids == END_OF_TEXT).int().argmax())])).strip()
