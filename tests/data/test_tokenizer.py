import pytest
import torch

from cosmos.config.params import InlineParams, ModelParams, TextParams
from cosmos.data import tokenizer
from cosmos.data.tokenizer import Tokenizer, tokenizer_for

START, END = 49406, 49407


@pytest.fixture(scope="module")
def clip() -> Tokenizer:
    return Tokenizer(context_length=16, vocab_size=49408)


def test_ids_are_those_of_clip(clip: Tokenizer) -> None:
    ids = clip.encode(["a photo of a cat", "A dog!"])
    assert ids.dtype == torch.int64
    assert ids[0].tolist() == [START, 320, 1125, 539, 320, 2368, END] + [0] * 9
    assert ids[1].tolist() == [START, 320, 1929, 256, END] + [0] * 11


def test_a_long_caption_is_cut_and_still_ends_with_the_end_of_text(clip: Tokenizer) -> None:
    ids = clip.encode(["cat " * 100])
    assert ids.shape == (1, 16)
    assert ids[0].tolist() == [START] + [2368] * 14 + [END]


def test_an_empty_caption_is_start_and_end(clip: Tokenizer) -> None:
    assert clip.encode([""])[0, :3].tolist() == [START, END, 0]


@pytest.mark.parametrize("caption", ["\ud800", "\x00\x01", "&#xD800;", "é" * 3000, "a" * 1_000_000])
def test_what_strangers_write_is_encoded_quickly_into_ids_of_the_vocabulary(
    clip: Tokenizer, caption: str
) -> None:
    ids = clip.encode([caption])
    assert ids[0, 0] == START
    assert ids.max() == END
    assert ids.min() >= 0


def test_memory_for_words_is_bounded(clip: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "MAX_CACHED_WORDS", 50)
    before = clip.encode(["seven green bottles"])
    for number in range(20):
        clip.encode([" ".join(chr(97 + number) * length for length in range(2, 12))])
    assert len(clip._clip.cache) <= 60
    assert torch.equal(clip.encode(["seven green bottles"]), before)


def test_a_vocabulary_too_small_for_clip_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"model\.inline\.text\.vocab_size: 512 .* set it to 49408"):
        Tokenizer(context_length=77, vocab_size=512)


def test_the_tokenizer_of_an_inline_architecture_has_its_context_length() -> None:
    model = ModelParams(inline=InlineParams(text=TextParams(context_length=20)))
    assert tokenizer_for(model).context_length == 20


def test_the_tokenizer_of_a_named_architecture_has_its_context_length() -> None:
    assert tokenizer_for(ModelParams(architecture="ViT-B-16")).context_length == 77


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.architecture: .*'ViT-Z-1'"):
        tokenizer_for(ModelParams(architecture="ViT-Z-1"))
