from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cosmos.config.machine import Machine
from cosmos.data.image_crops import denormalise
from cosmos.data.loader import draw_first_samples, make_loader
from cosmos.data.readable import ReadableSamples
from cosmos.run.directory import RunDir
from cosmos.stages.batch_pictures import picture_batch, views_of_samples
from tests.data.test_loader import params, sample, write_samples


def test_the_samples_shown_are_those_that_training_gets_first(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "train", map(sample, range(14)))
    data = ReadableSamples.of(samples, (), params())
    machine = Machine(workers=0, device="cpu")
    (trained,) = make_loader(data, params(), machine, 0, 1, 0, 1)
    drawn = draw_first_samples(data, params(), 2)
    assert drawn.keys == trained.keys[:2]
    assert torch.equal(drawn.global_crops, trained.global_crops[:2])
    assert torch.equal(drawn.tokens, trained.tokens[:2])

    first = views_of_samples(drawn)[0]
    assert (len(first.global_crops), len(first.local_crops)) == (2, 2)
    shown = np.asarray(Image.open(BytesIO(first.global_crops[0])).convert("RGB"), np.float32) / 255
    wanted = denormalise(trained.global_crops[0, 0]).permute(1, 2, 0).numpy()
    assert shown.shape == wanted.shape
    assert abs(shown.mean() - wanted.mean()) < 0.05
    captions = [text.replace(" ", "") for text in sample(int(first.key)).annotation["captions"]]
    read = [text.replace(" ", "").partition(".")[0] for text in first.captions]
    assert len(read) == 3
    assert all(any(text.startswith(start) for text in captions) and start for start in read)


def test_data_that_is_not_there_is_the_reason(tmp_path: Path) -> None:
    pictures = picture_batch(RunDir(tmp_path / "mine"), params(), Machine(data_root=tmp_path))
    assert pictures.samples == ()
    assert "manifest.json: no such file" in pictures.reason
