import pickle
import random
import time
from collections.abc import Iterator, Sequence
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from cosmos.config.params import InlineParams, ModelParams, TextParams
from cosmos.data import tokenizer
from cosmos.data.tokenizer import (
    CHARACTERS_PER_TOKEN,
    CLIP_CONTEXT_LENGTH,
    CLIP_VOCABULARY,
    Tokenizer,
    tokenizer_for,
)
from cosmos.model.packing import caption_lengths

START, END = 49406, 49407

ODD_CAPTIONS = [
    *("", " ", "<start_of_text> of <END_OF_TEXT>", "<ſtart_of_text> we'ſ", "\ud800", "\x00\x01", "&#xD800;"),
    *("é" * 300, "a\x1cb\x7f", "don’t “x”", "<a>&amp;\n&lt; &amp;", "１２３ ｆｕｌｌ", "สวัสดีชาวโลก" * 3),
    *("İstanbul ß ﬁ", "a\u2028b\u3000c\u00a0d\u180ee\u200bf", "\x1b[31mred\r\nsÃ³", "&amp;amp;amp;"),
]

ALPHABETS = ((0x61, 0x7A), (0x20, 0x7E), (0, 0x24F), (0x300, 0x2FFF), (0x3000, 0x9FFF), (0x1F300, 0x1FAFF))
FRAGMENTS = (
    "'s",
    "&amp;",
    "<br>",
    "it's",
    "R&D",
    "&#39;",
    "&lt;",
    "\t",
    "\n",
    "--",
    "...",
    "!?",
    "$5",
    "\U000e0041",
)


def strange_captions(number: int) -> Iterator[str]:
    """Yield captions of words, entities, mark-up, controls and several scripts, with and without spaces."""
    draw = random.Random(number)

    def word() -> str:
        if draw.random() < 0.1:
            return draw.choice(FRAGMENTS)
        first, last = draw.choices(ALPHABETS, (6, 1, 1, 1, 1, 1))[0]
        length = draw.randint(1, 90 if draw.random() < 0.02 else 10)
        text = "".join(chr(draw.randint(first, last)) for _ in range(length))
        return text.upper() if draw.random() < 0.1 else text

    for _ in range(number):
        yield ("" if draw.random() < 0.1 else " ").join(word() for _ in range(draw.randint(1, 20)))


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


def test_lengths_are_where_the_model_takes_a_caption_to_end(clip: Tokenizer) -> None:
    ids, lengths = clip.encode_and_measure([*ODD_CAPTIONS, "a photo of a cat", "cat " * 100])
    assert lengths.tolist() == caption_lengths(ids).tolist()
    assert lengths[-2:].tolist() == [7, clip.context_length]


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
        clip.encode([chr(97 + number) * 1000])
    assert len(clip._words) <= 50
    assert max(map(len, clip._words)) <= tokenizer.MAX_CACHED_CHARACTERS
    assert torch.equal(clip.encode(["seven green bottles"]), before)


@cache
def tokenizers(context_length: int) -> tuple[SimpleTokenizer, Tokenizer]:
    return SimpleTokenizer(context_length=context_length), Tokenizer(context_length, CLIP_VOCABULARY)


def assert_same_ids(captions: Sequence[str], context_length: int) -> None:
    """Compare with open_clip's tokenizer, on what is read of each caption."""
    published, ours = tokenizers(context_length)
    most = CHARACTERS_PER_TOKEN * context_length
    for first in range(0, len(captions), 1000):
        part = captions[first : first + 1000]
        same = (ours.encode(part) == published([caption[:most] for caption in part])).all(dim=1)
        assert same.all(), part[int(same.int().argmin())]


@settings(deadline=None)
@given(
    st.lists(st.text() | st.text(st.sampled_from("aA's&;#x39<_>\n \x1c\ud800’é\u017f１ﬁ中🙂")), max_size=20)
)
def test_ids_of_any_text_are_open_clip_s(captions: list[str]) -> None:
    assert_same_ids(captions, context_length=12)


@pytest.mark.parametrize("context_length", [1, 2, 77])
def test_ids_of_what_strangers_write_are_open_clip_s(context_length: int) -> None:
    assert_same_ids([*ODD_CAPTIONS, *strange_captions(1000)], context_length)


@pytest.mark.slow
def test_ids_of_twenty_thousand_captions_are_open_clip_s() -> None:
    assert_same_ids([*strange_captions(20_000)], CLIP_CONTEXT_LENGTH)


@pytest.mark.parametrize("letters", [(0x61, 0x7A), (0x4E00, 0x9FFF)], ids=["Latin", "Chinese"])
def test_a_word_of_thousands_of_letters_takes_milliseconds(clip: Tokenizer, letters: tuple[int, int]) -> None:
    draw = random.Random(0)
    words = ["".join(chr(draw.randint(*letters)) for _ in range(16 * 64)) for _ in range(20)]
    start = time.thread_time()
    clip.encode(words)
    assert time.thread_time() - start < 0.5  # in Python it takes half a minute


def test_a_tokenizer_can_be_sent_to_spawned_workers(clip: Tokenizer) -> None:
    sent = pickle.loads(pickle.dumps(clip))
    assert torch.equal(sent.encode(ODD_CAPTIONS), clip.encode(ODD_CAPTIONS))


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


def test_words_have_the_places_of_their_ids() -> None:
    tokens = Tokenizer(CLIP_CONTEXT_LENGTH, CLIP_VOCABULARY)
    caption = "A red-hot  circle, &amp; unbelievabilities"
    ids = tokens.encode([caption])[0]
    words = tokens.words(caption)
    assert [word for word, _ in words] == ["a", "red-hot", "circle,", "&", "unbelievabilities"]
    for word, places in words:
        alone = tokens.encode([word])[0]
        assert ids[places].tolist() == alone[1 : alone.argmax()].tolist()
    assert [places.start for _, places in words[1:]] == [places.stop for _, places in words[:-1]]
    assert words[-1][1].stop == ids.argmax()


def test_words_behind_the_end_are_left_out() -> None:
    tokens = Tokenizer(6, CLIP_VOCABULARY)
    words = tokens.words("red green blue black white yellow")
    assert [word for word, _ in words] == ["red", "green", "blue", "black"]
    assert tokens.words("") == []
