from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cosmos.data.tokenizer import Tokenizer
from cosmos.evaluation.embed import embed_images, embed_texts
from cosmos.model.cosmos import Cosmos
from cosmos.model.encoders import CosmosEncoder
from cosmos.params import InlineParams, LossParams, ModelParams, TextParams, VisionParams
from tests.evaluation.examples import COLOURS, ColourEncoder, ImagesInMemory, image_bytes, machine

CAPTIONS = [
    "a dog",
    "a cat that sleeps on a green sofa by the window, in the sun",
    "rain",
    "a dog",
    "two boats in a harbour",
    "a",
]


@pytest.fixture(scope="module")
def small_cosmos() -> CosmosEncoder:
    torch.manual_seed(0)
    inline = InlineParams(
        embed_dim=16,
        vision=VisionParams(width=16, layers=1, head_width=8, patch_size=8),
        text=TextParams(width=16, layers=1, heads=2),
    )
    model = Cosmos(ModelParams(inline=inline), LossParams(), image_size=16).eval()
    return CosmosEncoder(model, 16, torch.device("cpu"))


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_embedded_in_their_order_by_any_number_of_workers(tmp_path: Path, workers: int) -> None:
    images = ImagesInMemory([image_bytes(colour) for colour in COLOURS])
    embeddings = embed_images(ColourEncoder(), images, machine(tmp_path, workers), quiet=True)
    expected = torch.tensor(list(COLOURS.values())) / 255 - 0.5
    torch.testing.assert_close(embeddings, torch.nn.functional.normalize(expected, dim=-1))


def test_captions_are_embedded_in_their_order_though_they_are_encoded_by_length(
    tmp_path: Path, small_cosmos: CosmosEncoder
) -> None:
    embeddings = embed_texts(small_cosmos, CAPTIONS, machine(tmp_path), quiet=True)
    tokens = Tokenizer(small_cosmos.context_length, small_cosmos.vocab_size).encode(CAPTIONS)
    one_by_one = torch.cat([small_cosmos.encode_texts(row[None]) for row in tokens])
    torch.testing.assert_close(embeddings, one_by_one)


def test_equal_captions_are_encoded_once_and_embedded_exactly_alike(
    tmp_path: Path, small_cosmos: CosmosEncoder
) -> None:
    encoder = ColourEncoder()
    embed_texts(encoder, ["red", "blue", "red", "red"], machine(tmp_path), quiet=True)
    assert sum(map(len, encoder.token_batches)) == 2
    embeddings = embed_texts(small_cosmos, CAPTIONS, machine(tmp_path), quiet=True)
    assert embeddings[0].equal(embeddings[3])


def test_a_batch_holds_captions_of_similar_length_the_longest_first(tmp_path: Path) -> None:
    encoder = ColourEncoder()
    embed_texts(encoder, CAPTIONS, machine(tmp_path), quiet=True)
    lengths = torch.cat([batch.argmax(dim=1) for batch in encoder.token_batches])
    assert [len(batch) for batch in encoder.token_batches] == [2, 2, 1]
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_decoded_is_named_without_a_traceback(tmp_path: Path, workers: int) -> None:
    images = ImagesInMemory([image_bytes("red"), image_bytes("blue"), b"not an image"])
    with pytest.raises(ValueError, match=r"^picture 2: image cannot be decoded.*leaves no image out"):
        embed_images(ColourEncoder(), images, machine(tmp_path, workers), quiet=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_leaves_the_random_state_of_training_as_it_was(tmp_path: Path, workers: int) -> None:
    before = torch.get_rng_state()
    embed_images(
        ColourEncoder(), ImagesInMemory([image_bytes("red")]), machine(tmp_path, workers), quiet=True
    )
    embed_texts(ColourEncoder(), ["red"], machine(tmp_path), quiet=True)
    assert torch.get_rng_state().equal(before)


def test_a_vocabulary_that_cannot_hold_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocab_size: 500"):
        embed_texts(replace(ColourEncoder(), vocab_size=500), ["red"], machine(tmp_path), quiet=True)


def test_progress_goes_to_the_error_stream_and_quiet_shows_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = ImagesInMemory([image_bytes("red")])
    embed_images(ColourEncoder(), images, machine(tmp_path), quiet=True)
    assert capfd.readouterr() == ("", "")
    embed_images(ColourEncoder(), images, machine(tmp_path))
    assert capfd.readouterr().out == ""
