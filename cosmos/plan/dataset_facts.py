"""Facts of a dataset that plans need: of the prepared one, or as stated, or assumed; each says which."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from cosmos.config.disk_reading import exists
from cosmos.config.machine import Machine
from cosmos.config.params import Params, ViewParams
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.data.order import sample_generator
from cosmos.data.shards.remote import is_remote
from cosmos.data.shards.samples import ShardedSamples
from cosmos.data.text_crops import draw_captions
from cosmos.errors import CosmosError, DamagedDataError, InputError
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.workload import GLOBAL_VIEWS, DatasetFacts

NUM_READ = 64
"""Samples whose captions are read to know their lengths."""

NUM_ASSUMED = 256
"""Samples whose captions are drawn where none can be read."""

SENTENCE_TOKENS = range(10, 31)
"""Tokens of a sentence, start and end of text included, where no caption can be read: all as often."""

ASSUMED_CAPTIONS = "assumed: sentences of 10 to 30 tokens"

BYTES_PER_SAMPLE = 33_000
"""Bytes of a sample where no data is prepared: CC12M with 256 pixels takes 331 GB (docs of img2dataset)."""

ASSUMED_BYTES = "assumed: 33 kB, as CC12M with 256 pixels"


def dataset_facts(params: Params, machine: Machine, num_samples: int = 0, stated: int = 0) -> DatasetFacts:
    """Return the facts of the training data of `data.name`.

    Its size is `num_samples`, where that is not 0, or else that of the prepared data, or else the one that an
    experiment has `stated`. Raises InputError where none of them is known.
    """
    prepared = PreparedData.find(params, machine)
    size, source = dataset_size(params, machine, prepared, num_samples, stated)
    lengths, captions_from = caption_lengths(params, machine, prepared)
    num_bytes = prepared.bytes_per_sample if prepared else BYTES_PER_SAMPLE
    bytes_from = MANIFEST_FILE if prepared else ASSUMED_BYTES
    return DatasetFacts(size, source, num_bytes, bytes_from, lengths, captions_from)


@dataclass(frozen=True)
class PreparedData:
    """Training data that is prepared on this machine, with at least one sample."""

    manifest: Manifest

    @classmethod
    def find(cls, params: Params, machine: Machine) -> "PreparedData | None":
        """Return the prepared training data; None where there is none.

        Raises as `Manifest.read`, and DamagedDataError for a manifest without samples.
        """
        folder = machine.dataset(params.data.name, "train")
        if not exists(folder / MANIFEST_FILE):
            return None
        manifest = Manifest.read(folder)
        if not manifest.num_samples:
            raise DamagedDataError(
                f"{folder / MANIFEST_FILE}: has no sample; delete it, and prepare the data again"
            )
        return cls(manifest)

    @property
    def bytes_per_sample(self) -> float:
        """Mean number of bytes of shards for each sample."""
        return sum(shard.num_bytes for shard in self.manifest.shards) / self.manifest.num_samples


def dataset_size(
    params: Params, machine: Machine, prepared: PreparedData | None, num_samples: int, stated: int
) -> tuple[int, str]:
    """Return the number of samples and its source. Raises InputError where it is not known."""
    if num_samples:
        return num_samples, "--samples"
    if prepared:
        return prepared.manifest.num_samples, MANIFEST_FILE
    if params.data.source == "demo":
        return params.data.demo.num_train, "data.demo.num_train"
    if stated:
        return stated, "stated by the experiment"
    folder = machine.dataset(params.data.name, "train")
    raise InputError(
        f"{folder / MANIFEST_FILE}: no such file, so that the size of {params.data.name} is not known; "
        "state it with --samples or, in the experiment's file, `samples:`, or prepare the data"
    )


def caption_lengths(
    params: Params, machine: Machine, prepared: PreparedData | None
) -> tuple[tuple[tuple[int, ...], ...], str]:
    """Return the lengths of the captions that steps draw, in tokens, and their source."""
    context = ModelDimensions.of(params).context_length
    if prepared and not any(is_remote(shard.path) for shard in prepared.manifest.shards):
        try:
            lengths = read_lengths(params, machine, context)
            return lengths, f"captions of {len(lengths)} samples"
        except CosmosError:  # whatever is wrong with a sample, prepare and pretrain explain it
            pass
    return assume_lengths(params.views, context), ASSUMED_CAPTIONS


def read_lengths(params: Params, machine: Machine, context: int) -> tuple[tuple[int, ...], ...]:
    """Return the lengths of the captions of samples all over the prepared data, as a first epoch draws them.

    Raises as `ShardedSamples.read`.
    """
    samples = ShardedSamples(machine.dataset(params.data.name, "train"), machine)
    seed, step = params.pretrain.seed, max(1, len(samples) // NUM_READ)
    indices = islice(range(0, len(samples), step), NUM_READ)
    drawn = (
        draw_captions(samples.read(index).annotation, params.views, sample_generator(seed, 0, index))
        for index in indices
    )
    return tuple(cut(map(count_tokens, captions), context) for captions in drawn)


_PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|[^\s\w]+|_+", re.IGNORECASE)
"""Pieces that CLIP's tokenizer encodes one by one; importing it would take seconds."""

LETTERS_PER_TOKEN = 7.0
"""Letters of a long word for each of its tokens; most words have a single one."""

TOKENS_PER_BYTE = 0.7
"""Tokens for each byte of letters of other scripts, and of accented ones, in UTF-8."""


def count_tokens(caption: str) -> int:
    """Return about the number of tokens of a caption, start and end of text included."""
    return 2 + sum(tokens_of(piece) for piece in _PIECES.findall(caption))


def tokens_of(piece: str) -> int:
    """Return about the number of tokens of a piece: one of most words, more of long or foreign ones."""
    num_plain = sum(map(str.isascii, piece))
    num_bytes = len(piece.encode("utf-8", "ignore")) - num_plain
    return max(1, round(num_plain / LETTERS_PER_TOKEN + TOKENS_PER_BYTE * num_bytes))


def assume_lengths(views: ViewParams, context: int) -> tuple[tuple[int, ...], ...]:
    """Return lengths of captions as `draw_captions` would draw them of sentences of SENTENCE_TOKENS."""
    rng = np.random.default_rng(0)

    def sentence() -> int:
        return int(rng.integers(SENTENCE_TOKENS.start, SENTENCE_TOKENS.stop))

    def joined() -> int:  # a full stop between two sentences; start and end of text once
        count = int(rng.integers(1, views.max_sentences, endpoint=True))
        return 1 + sum(sentence() - 1 for _ in range(count))

    draw_global = joined if views.caption_mode == "textcrop" else sentence
    makers = [draw_global] * GLOBAL_VIEWS + [sentence] * (views.num_captions - GLOBAL_VIEWS)
    return tuple(cut((make() for make in makers), context) for _ in range(NUM_ASSUMED))


def cut(lengths: Iterable[int], context: int) -> tuple[int, ...]:
    """Return lengths of captions as they are once they are cut to the context."""
    return tuple(min(context, length) for length in lengths)
