import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cosmos.model.packing import (
    MAX_PADDING,
    Lengths,
    caption_lengths,
    first_rows,
    group_shapes,
    pack_captions,
)


def captions(lengths: list[int], context: int = 12) -> torch.Tensor:
    tokens = torch.zeros(len(lengths), context, dtype=torch.long)
    for i, (row, length) in enumerate(zip(tokens, lengths, strict=True)):
        row[:length] = torch.arange(1, length + 1) + 100 * i
        row[length - 1] = 10_000
    return tokens


def computed(lengths: Lengths, num_groups: int) -> int:
    """Fewest tokens of captions in so many groups, by trying all bounds."""
    ordered = np.sort(lengths)
    if num_groups == 1:
        return int(ordered[-1]) * len(ordered)
    return min(
        computed(ordered[:i], num_groups - 1) + int(ordered[-1]) * len(ordered[i:])
        for i in range(num_groups - 1, len(ordered))
    )


@given(st.lists(st.integers(2, 77), min_size=1, max_size=200))
def test_at_most_a_twentieth_of_the_computed_tokens_is_padding(lengths: list[int]) -> None:
    shapes = group_shapes(np.array(lengths))
    assert sum(count for count, _ in shapes) == len(lengths)
    total = sum(count * length for count, length in shapes)
    assert total - sum(lengths) <= MAX_PADDING * total
    starts = np.cumsum([0, *(count for count, _ in shapes)])
    for (_, length), start, stop in zip(shapes, starts, starts[1:], strict=False):
        assert max(sorted(lengths)[start:stop]) == length


@given(st.lists(st.integers(2, 30), min_size=1, max_size=8))
def test_no_fewer_groups_would_do(lengths: list[int]) -> None:
    array = np.array(lengths)
    fewer = len(group_shapes(array)) - 1
    if fewer:
        assert computed(array, fewer) * (1 - MAX_PADDING) > sum(lengths)


def test_packed_captions_hold_each_caption_up_to_its_end_and_find_its_end_again() -> None:
    lengths = [5, 12, 2, 5, 9, 12]
    tokens = captions(lengths)
    packed = pack_captions(tokens, caption_lengths(tokens))
    assert packed.ids[packed.ends].tolist() == [10_000] * 6
    for row, end, length in zip(tokens, packed.ends.tolist(), lengths, strict=True):
        assert packed.ids[end - length + 1 : end + 1].equal(row[:length])
    assert packed.shapes == ((1, 2), (2, 5), (1, 9), (2, 12))


def test_captions_of_one_length_are_one_group() -> None:
    assert group_shapes(np.full(7, 77)) == ((7, 77),)


def test_first_rows_are_those_of_each_sequence() -> None:
    assert first_rows([(2, 3), (1, 4), (2, 1)], torch.device("cpu")).tolist() == [0, 3, 6, 10, 11]


@pytest.mark.parametrize("shape", [(3, 4), (6,)])
def test_lengths_count_the_end_of_text(shape: tuple[int, ...]) -> None:
    tokens = captions([3, 4, 5, 6, 2, 7, 9, 9, 12, 3, 3, 2][: int(np.prod(shape))]).reshape(*shape, 12)
    assert caption_lengths(tokens).shape == shape
    assert caption_lengths(tokens).flatten()[:3].tolist() == [3, 4, 5]
