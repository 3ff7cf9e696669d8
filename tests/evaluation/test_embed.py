from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from cosmos.config.params import InlineParams, LossParams, ModelParams, TextParams, VisionParams
from cosmos.data.tokenizer import Tokenizer
from cosmos.errors import OutOfMemoryError
from cosmos.evaluation.embedding_cache import CacheFolder
from cosmos.model.cosmos import Cosmos
from cosmos.model.encoders import CosmosEncoder
from tests.evaluation.examples import COLOURS, ColourEncoder, ImagesInMemory, embedder, image_bytes

CAPTIONS = [
    "a dog",
    "a cat that sleeps on a green sofa by the window, in the sun",
    "rain",
    "a dog",
    "two boats in a harbour",
    "a",
]
PICTURES = ImagesInMemory([image_bytes(colour) for colour in COLOURS])


@pytest.fixture(scope="module")
def small_cosmos() -> CosmosEncoder:
    torch.manual_seed(0)
    inline = InlineParams(
        embed_dim=16,
        vision=VisionParams(width=16, layers=1, head_width=8, patch_size=8),
        text=TextParams(width=16, layers=1, heads=2),
    )
    model = Cosmos(ModelParams(inline=inline), LossParams(), image_size=16).eval()
    return CosmosEncoder(model, 16, torch.device("cpu"), "float32")


def one_by_one(encoder: CosmosEncoder, captions: Sequence[str]) -> torch.Tensor:
    tokens = Tokenizer(encoder.context_length, encoder.vocab_size).encode(captions)
    return torch.cat([encoder.encode_texts(row[None]) for row in tokens])


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_embedded_in_their_order_by_any_number_of_workers(tmp_path: Path, workers: int) -> None:
    embeddings = embedder(tmp_path, ColourEncoder(), workers=workers).images(PICTURES)
    expected = torch.tensor(list(COLOURS.values())) / 255 - 0.5
    torch.testing.assert_close(embeddings, normalize(expected, dim=-1))


def test_captions_are_embedded_in_their_order_though_they_are_encoded_by_length(
    tmp_path: Path, small_cosmos: CosmosEncoder
) -> None:
    embeddings = embedder(tmp_path, small_cosmos).texts(CAPTIONS)
    torch.testing.assert_close(embeddings, one_by_one(small_cosmos, CAPTIONS))


def test_equal_captions_are_encoded_once_and_embedded_exactly_alike(
    tmp_path: Path, small_cosmos: CosmosEncoder
) -> None:
    encoder = ColourEncoder()
    embedder(tmp_path, encoder).texts(["red", "blue", "red", "red"])
    assert sum(map(len, encoder.token_batches)) == 2
    embeddings = embedder(tmp_path, small_cosmos).texts(CAPTIONS)
    assert embeddings[0].equal(embeddings[3])


def test_a_batch_holds_captions_of_similar_length_the_longest_first(tmp_path: Path) -> None:
    encoder = ColourEncoder()
    embedder(tmp_path, encoder).texts(CAPTIONS)
    lengths = torch.cat([batch.argmax(dim=1) for batch in encoder.token_batches])
    assert [len(batch) for batch in encoder.token_batches] == [2, 2, 1]
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)


def test_a_class_is_the_normalised_mean_of_its_normalised_prompts(
    tmp_path: Path, small_cosmos: CosmosEncoder
) -> None:
    templates = ["a photo of a {}.", "{}", "a {} {}"]
    found = embedder(tmp_path, small_cosmos).classes(["dog", "{boat}", "dog"], templates)
    for name, row in zip(["dog", "{boat}", "dog"], found, strict=True):
        prompts = [f"a photo of a {name}.", name, f"a {name} {name}"]
        mean = one_by_one(small_cosmos, prompts).mean(dim=0)
        torch.testing.assert_close(row, normalize(mean, dim=0))


def test_what_was_embedded_before_is_not_encoded_again(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path / "embeddings")
    first = ColourEncoder()
    images = embedder(tmp_path, first, cache).images(replace(PICTURES, encoded=PICTURES.encoded[:3]))
    captions = embedder(tmp_path, first, cache).texts(["red", "blue"])
    second = ColourEncoder()
    again = embedder(tmp_path, second, cache)
    assert again.images(PICTURES)[:3].equal(images)
    assert again.texts(["blue", "green", "red"])[[2, 0]].equal(captions)
    assert sum(map(len, second.image_batches)) == 2
    assert sum(map(len, second.token_batches)) == 1
    again.classes(["red"], ["{}"])
    again.classes(["red", "blue"], ["{}"])
    assert sum(map(len, second.token_batches)) == 3


def test_what_was_embedded_before_a_failure_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cosmos.evaluation.embed.SECONDS_BETWEEN_PARTS", 0)
    cache = CacheFolder(tmp_path / "embeddings")
    damaged = replace(PICTURES, encoded=[*PICTURES.encoded[:4], b"not an image"])
    with pytest.raises(ValueError, match="picture 4"):
        embedder(tmp_path, ColourEncoder(), cache).images(damaged)
    encoder = ColourEncoder()
    embedder(tmp_path, encoder, cache).images(PICTURES)
    assert sum(map(len, encoder.image_batches)) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_decoded_is_named_without_a_traceback(tmp_path: Path, workers: int) -> None:
    images = ImagesInMemory([image_bytes("red"), image_bytes("blue"), b"not an image"])
    with pytest.raises(ValueError, match=r"^picture 2: image cannot be decoded.*leaves no image out"):
        embedder(tmp_path, ColourEncoder(), workers=workers).images(images)


class DivergedEncoder(ColourEncoder):
    def encode_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        return super().encode_texts(tokens) * torch.nan


def test_an_embedding_that_is_not_finite_is_refused_by_name_and_not_kept(tmp_path: Path) -> None:
    cache = CacheFolder(tmp_path / "embeddings")
    with pytest.raises(ValueError, match=r"'red'.* is not finite; take a checkpoint from before"):
        embedder(tmp_path, DivergedEncoder(), cache).texts(["red"])
    assert not list(tmp_path.rglob("*.pt"))


def test_a_gpu_with_too_little_memory_is_an_error_that_names_the_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(encoder: ColourEncoder, inputs: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(ColourEncoder, "encode_images", fail)
    monkeypatch.setattr(ColourEncoder, "encode_texts", fail)
    expected = r"\d+ at a time .*\(CUDA out of memory\); set COSMOS_EVALUATION_BATCH_SIZE to less"
    with pytest.raises(OutOfMemoryError, match=expected):
        embedder(tmp_path, ColourEncoder()).images(PICTURES)
    with pytest.raises(OutOfMemoryError, match=expected):
        embedder(tmp_path, ColourEncoder()).texts(["red"])


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_leaves_the_random_state_of_training_as_it_was(tmp_path: Path, workers: int) -> None:
    before = torch.get_rng_state()
    embedder(tmp_path, ColourEncoder(), workers=workers).images(PICTURES)
    embedder(tmp_path, ColourEncoder()).texts(["red"])
    assert torch.get_rng_state().equal(before)


def test_a_vocabulary_that_cannot_hold_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocab_size: 500"):
        embedder(tmp_path, replace(ColourEncoder(), vocab_size=500)).texts(["red"])


def test_progress_goes_to_the_error_stream_and_quiet_shows_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    embedder(tmp_path, ColourEncoder()).images(PICTURES)
    assert capfd.readouterr() == ("", "")
    embedder(tmp_path, ColourEncoder(), quiet=False).images(PICTURES)
    assert capfd.readouterr().out == ""
