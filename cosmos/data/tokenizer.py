"""Captions as token ids: CLIP's byte-pair encoding, from open_clip.

Importing open_clip takes seconds, so it is imported when the first tokenizer is made. Make it before worker
processes are forked and they have it for nothing.
"""

from collections.abc import Sequence

from torch import Tensor

from cosmos.config.params import ModelParams
from cosmos.errors import InputError

CLIP_VOCABULARY = 49408
"""Tokens of CLIP's vocabulary; the last two are start and end of text."""

CLIP_CONTEXT_LENGTH = 77

CHARACTERS_PER_TOKEN = 64
"""Characters read for each token wanted. CLIP's longest token has 28; encoding a word takes time quadratic in
its length, so that a stranger's caption of a million letters must not be encoded whole."""

MAX_CACHED_WORDS = 200_000
"""Words whose encoding is remembered, a few ten megabytes of them."""


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
        self._clip = SimpleTokenizer(context_length=context_length)
        self._special_words = dict(self._clip.cache)

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Return the ids of N captions, (N, L) int64: start of text, words, end of text, zeros.

        A caption that is too long is cut; its last id is the end of text all the same.
        """
        if len(self._clip.cache) > MAX_CACHED_WORDS:
            self._clip.cache = dict(self._special_words)
        most = CHARACTERS_PER_TOKEN * self.context_length
        ids: Tensor = self._clip([caption[:most] for caption in captions])
        return ids


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
