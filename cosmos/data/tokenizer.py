"""Captions as token ids: CLIP's byte-pair encoding, with open_clip's vocabulary and cleaning of text.

open_clip cleans a caption, cuts it into pieces by a pattern and encodes each, all in Python. The ids here are
the same. They are looked up word by word, since all pieces end at white space; a compiled encoder makes those
of words that were not met before; and text that the cleaning would leave as it is does not go through it.

Importing open_clip takes seconds, so it is imported when the first tokenizer is made. Make it before worker
processes are forked and they have it for nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers.models import BPE
from torch import Tensor

from cosmos.config.params import ModelParams
from cosmos.errors import InputError

CLIP_VOCABULARY = 49408
"""Tokens of CLIP's vocabulary; the last two are start and end of text."""

CLIP_CONTEXT_LENGTH = 77

CHARACTERS_PER_TOKEN = 64
"""Characters read for each token wanted. CLIP's longest token has 28; a stranger's caption of a million
letters must not be cleaned and encoded whole."""

MAX_CACHED_WORDS = 200_000
"""Words whose ids are remembered, a few ten megabytes of them."""

MAX_CACHED_CHARACTERS = 64
"""Length of the longest word whose ids are remembered, so that strangers' words cannot fill the memory."""

END_OF_TEXT = CLIP_VOCABULARY - 1

_START, _END = (np.uint16(token).tobytes() for token in (END_OF_TEXT - 1, END_OF_TEXT))


class Tokenizer:
    """CLIP's tokenizer for captions of `context_length` tokens.

    Raises InputError when the vocabulary cannot hold CLIP's ids.
    """

    def __init__(self, context_length: int, vocab_size: int) -> None:
        if vocab_size < CLIP_VOCABULARY:
            raise InputError(
                f"model.inline.text.vocab_size: {vocab_size} is too small for text: CLIP's token ids go up"
                f" to {CLIP_VOCABULARY - 1}; set it to {CLIP_VOCABULARY}"
            )
        from open_clip.tokenizer import SimpleTokenizer

        self.context_length = context_length
        clip = SimpleTokenizer()
        self._clean = clip.clean_fn
        self._words = _WordIds(clip)

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Return the ids of N captions, (N, L) int64: start of text, words, end of text, zeros.

        A caption that is too long is cut; its last id is the end of text all the same.
        """
        return self.encode_and_measure(captions)[0]

    def encode_and_measure(self, captions: Sequence[str]) -> tuple[Tensor, NDArray[np.int64]]:
        """Return the ids of N captions as `encode`, and their lengths, (N,), up to the first end of text."""
        rows = np.zeros((len(captions), self.context_length), np.int64)
        for row, caption in zip(rows, captions, strict=True):
            ids = self._ids(caption[: CHARACTERS_PER_TOKEN * self.context_length])[: self.context_length]
            row[: len(ids)] = ids
            row[len(ids) - 1] = END_OF_TEXT
        return torch.from_numpy(rows), (rows == END_OF_TEXT).argmax(axis=1) + 1

    def words(self, caption: str) -> list[tuple[str, slice]]:
        """Return the words of a caption as they are encoded, each with the places of its ids.

        Words without an id, as the caption is cut before them, are left out.
        """
        read = self._read(caption[: CHARACTERS_PER_TOKEN * self.context_length])
        ends = np.cumsum([1, *(len(self._words[word]) // 2 for word in read)])  # ids have two bytes each
        ends = ends.clip(max=self.context_length - 1).tolist()
        places = zip(read, ends, ends[1:], strict=False)
        return [(word, slice(start, end)) for word, start, end in places if start < end]

    def _ids(self, caption: str) -> NDArray[np.uint16]:
        """Return all ids of a caption, with those of start and end."""
        words = map(self._words.__getitem__, self._read(caption))
        return np.frombuffer(b"".join([_START, *words, _END]), np.uint16)

    def _read(self, caption: str) -> list[str]:
        """Return the words of a caption, in lower case, without what the cleaning removes."""
        return (caption.lower() if _is_clean(caption) else self._clean(caption)).split()


def _is_clean(caption: str) -> bool:
    """Return True for text in which open_clip's cleaning has nothing to mend but white space."""
    return caption.isascii() and caption.isprintable() and "&" not in caption


class _WordIds(dict[str, bytes]):
    """Ids of words without white space, as bytes of 16-bit numbers, encoded when they are first asked for."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self._pieces = clip.pat.findall
        self._letters = clip.byte_encoder
        self._special = {piece: clip.encoder[piece] for piece in clip.cache}
        self._encoder = BPE(clip.encoder, list(clip.bpe_ranks), end_of_word_suffix="</w>")

    def __missing__(self, word: str) -> bytes:
        ids = np.fromiter(self._encode(word), np.uint16).tobytes()
        if len(self) >= MAX_CACHED_WORDS:
            self.clear()
        if len(word) <= MAX_CACHED_CHARACTERS:
            self[word] = ids
        return ids

    def _encode(self, word: str) -> Iterable[int]:
        for piece in self._pieces(word):
            if piece in self._special:
                yield self._special[piece]
            else:
                letters = "".join(map(self._letters.__getitem__, piece.encode()))
                yield from (token.id for token in self._encoder.tokenize(letters))


def tokenizer_for(model: ModelParams) -> Tokenizer:
    """Return the tokenizer of an architecture: inline, or by the name of an open_clip config.

    Raises InputError for a name that open_clip does not know.
    """
    if model.architecture == "inline":
        return Tokenizer(model.inline.text.context_length, model.inline.text.vocab_size)
    import open_clip

    config = open_clip.get_model_config(model.architecture)
    if config is None:
        raise InputError(
            f"model.architecture: open_clip has no {model.architecture!r}; inline or ViT-B-16 would do"
        )
    text = config["text_cfg"]
    return Tokenizer(text.get("context_length", CLIP_CONTEXT_LENGTH), text.get("vocab_size", CLIP_VOCABULARY))
