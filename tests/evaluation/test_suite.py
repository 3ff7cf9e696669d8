from collections.abc import Iterator
from pathlib import Path

import pytest

from cosmos.data.sample import Sample
from cosmos.evaluation.embed import Encoder
from cosmos.evaluation.suite import SUITES, run_suite
from cosmos.params import DataParams, Params
from tests.evaluation.examples import COLOURS, ColourEncoder, image_bytes, machine, write_split

PARAMS = Params(data=DataParams(name="colours"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Below it, a held-out split of images of one colour with its name for a caption."""
    samples = [Sample(colour, image_bytes(colour), {"captions": [colour]}) for colour in COLOURS]
    write_split(tmp_path / "data" / "colours" / "heldout", samples)
    return tmp_path


def test_retrieval_measures_each_model_on_the_configured_dataset(root: Path) -> None:
    suite = SUITES["retrieval"](PARAMS, machine(root), True)
    results = run_suite(suite, [("student", ColourEncoder()), ("teacher", ColourEncoder(image_size=4))])
    assert [(result.suite, result.dataset, result.model) for result in results] == [
        ("retrieval", "colours/heldout", "student"),
        ("retrieval", "colours/heldout", "teacher"),
    ]
    for result in results:
        assert result.size == {"num_images": 5, "num_captions": 5}
        assert result.metrics["image_to_text_R@1"] == result.metrics["text_to_image_R@1"] == 1
        assert result.metrics["image_to_text_ties"] == result.metrics["text_to_image_ties"] == 0
        assert result.chance["text_to_image_R@1"] == pytest.approx(0.2)
        assert result.chance.keys() <= result.metrics.keys()


def test_encoders_are_asked_for_one_at_a_time(root: Path) -> None:
    suite = SUITES["retrieval"](PARAMS, machine(root), True)
    first = ColourEncoder()

    def encoders() -> Iterator[tuple[str, Encoder]]:
        yield "student", first
        assert first.token_batches, "the second model is loaded when the first has been measured"
        yield "teacher", ColourEncoder()

    assert len(run_suite(suite, encoders())) == 2


def test_a_dataset_that_is_not_there_is_refused_before_a_model_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cosmos prepare"):
        SUITES["retrieval"](PARAMS, machine(tmp_path), True)
