from pathlib import Path

import pytest

from cosmos.data.sample import Sample
from cosmos.evaluation.suite import SUITES
from cosmos.params import DataParams, Params
from tests.evaluation.examples import COLOURS, ColourEncoder, image_bytes, machine, write_split

PARAMS = Params(data=DataParams(name="colours"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Below it, a held-out split of images of one colour with its name for a caption."""
    samples = [Sample(colour, image_bytes(colour), {"captions": [colour]}) for colour in COLOURS]
    write_split(tmp_path / "data" / "colours" / "heldout", samples)
    return tmp_path


def test_retrieval_measures_an_encoder_on_the_configured_dataset(root: Path) -> None:
    suite = SUITES["retrieval"](PARAMS, machine(root), True)
    metrics = suite.measure(ColourEncoder())
    assert suite.dataset == "colours/heldout"
    assert suite.size == {"num_images": 5, "num_captions": 5}
    assert metrics["image_to_text_R@1"] == metrics["text_to_image_R@1"] == 1
    assert metrics["image_to_text_ties"] == metrics["text_to_image_ties"] == 0
    assert suite.chance["text_to_image_R@1"] == pytest.approx(0.2)
    assert suite.chance.keys() <= metrics.keys()


def test_a_dataset_that_is_not_there_is_refused_before_a_model_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cosmos prepare"):
        SUITES["retrieval"](PARAMS, machine(tmp_path), True)
