"""CPU time to draw and tokenise the captions of a sample: ours and the straightforward implementation.

The straightforward one draws sentences as the published code does, and gives each caption to open_clip's
tokenizer. Samples are in DreamLIP's form, with sentences of words as frequent as in real text, of which 3 in
100 are not plain ASCII. Both tokenizers give the same ids, which is checked, and neither has met the captions
before. Captions in a script without spaces, whose words no cache knows, are a row of their own.

    python benchmarks/captions.py [--samples 2000] [--captions 8] [--json]
"""

import random
import statistics
import time
from collections.abc import Callable
from itertools import chain

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from rows import Row, benchmark_parser, print_rows
from torch import Tensor

from cosmos.config.params import ViewParams
from cosmos.data.captions import DREAMLIP_KEYS
from cosmos.data.text_crops import draw_captions
from cosmos.data.tokenizer import CLIP_CONTEXT_LENGTH, CLIP_VOCABULARY, Tokenizer

Annotation = dict[str, list[str]]

UNUSUAL = ("café", "naïve", "the artist’s", "“still life”", "-- – --", "R&amp;D", "25°", "北京", "Ångström")
GOAL = 0.33
"""Largest share of the time: 0.3 of 0.9 ms."""


class Writer:
    """Writer of sentences whose words are as frequent as in real text, by Zipf's law."""

    def __init__(self, clip: SimpleTokenizer, seed: int) -> None:
        words = [token.removesuffix("</w>") for token in clip.encoder if token.endswith("</w>")]
        self.words = [word for word in words if word.isascii() and word.isalpha() and len(word) > 1]
        weights = 1 / np.arange(2, len(self.words) + 2)
        self.random = random.Random(seed)
        self.cumulative = np.cumsum(weights).tolist()

    def sentence(self) -> str:
        words = self.random.choices(self.words, cum_weights=self.cumulative, k=self.random.randint(6, 24))
        if self.random.random() < 0.03:
            words.append(self.random.choice(UNUSUAL))
        return f"{' '.join(words).capitalize()}, {self.random.randint(2, 99)} of them."

    def annotation(self) -> Annotation:
        return {
            key: [self.sentence() for _ in range(4 if key.startswith("long") else 1)] for key in DREAMLIP_KEYS
        }

    def unspaced(self) -> Annotation:
        """Return sentences of a script without spaces, whose words are new in every caption."""
        letters = [chr(self.random.randint(0x4E00, 0x5FFF)) for _ in range(400)]
        return {"raw_caption": ["".join(letters[place : place + 20]) for place in range(0, 400, 20)]}


def straightforward(views: ViewParams, clip: SimpleTokenizer) -> Callable[[Annotation], Tensor]:
    def encode(annotation: Annotation) -> Tensor:
        pool = [sentence for key in DREAMLIP_KEYS for sentence in annotation.get(key, [])]
        lengths = [random.randint(1, views.max_sentences) for _ in range(2)]
        captions = [". ".join(random.sample(pool, length)) for length in lengths]
        captions += random.sample(pool, views.num_captions - 2)
        return torch.stack([clip(caption)[0] for caption in captions])

    return encode


def ours(views: ViewParams, tokenizer: Tokenizer) -> Callable[[Annotation], Tensor]:
    rng = np.random.default_rng(0)
    return lambda annotation: tokenizer.encode(draw_captions(annotation, views, rng))


def check_ids(annotations: list[Annotation], clip: SimpleTokenizer, tokenizer: Tokenizer) -> None:
    captions = [caption for annotation in annotations for caption in chain(*annotation.values())]
    if not torch.equal(clip(captions), tokenizer.encode(captions)):
        raise SystemExit("the ids of the two differ")


def milliseconds(make: Callable[[Annotation], Tensor], annotation: Annotation) -> float:
    start = time.process_time()
    make(annotation)
    return 1e3 * (time.process_time() - start)


def compare(path: str, annotations: list[Annotation], views: ViewParams, goal: float | None) -> Row:
    """Return a row of the table: means over samples, of which the first quarter fills the caches."""
    clip = SimpleTokenizer(context_length=CLIP_CONTEXT_LENGTH)
    tokenizer = Tokenizer(CLIP_CONTEXT_LENGTH, CLIP_VOCABULARY)
    makers = {"straightforward": straightforward(views, clip), "ours": ours(views, tokenizer)}
    rng = np.random.default_rng(0)
    makers["drawing"] = lambda annotation: torch.tensor(len(draw_captions(annotation, views, rng)))
    times = [{name: milliseconds(make, item) for name, make in makers.items()} for item in annotations]
    check_ids(annotations[:100], clip, tokenizer)
    counted = times[len(times) // 4 :]
    means = {name: statistics.mean(row[name] for row in counted) for name in makers}
    limit = f"drawing alone: {means['drawing']:.2g} ms"
    return Row(path, "ms of CPU per sample", means["straightforward"], means["ours"], goal, limit)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--captions", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    views = ViewParams(num_captions=options.captions)
    writer = Writer(SimpleTokenizer(), seed=0)
    annotations = [writer.annotation() for _ in range(options.samples)]
    unspaced = [writer.unspaced() for _ in range(options.samples // 10)]
    rows = [
        compare(f"{options.captions} captions, drawn and tokenised", annotations, views, GOAL),
        compare(f"{options.captions} captions in a script without spaces", unspaced, views, None),
    ]
    print_rows(rows, options.json)


if __name__ == "__main__":
    main()
