"""Verdicts hold what they state: of 1,000 draws of equals at most 5% have a winner."""

from functools import partial

import numpy as np
import pytest

from cosmos.run.statistics.differences import SeedSpread, compare_samples
from cosmos.run.statistics.leads import Lead, correct_by_holm, evidence_needed, judge_lead
from cosmos.run.statistics.seed_statistics import SeedImages, SeedStatistics

NUM_NULLS = 1000
ALLOWED = 0.05 + 3 * (0.05 * 0.95 / NUM_NULLS) ** 0.5
"""Largest share of nulls with a winner that 5% have by chance of the draw."""

Drawn = dict[str, SeedStatistics]


def draw(
    rng: np.random.Generator,
    skills: list[float],
    seeds: int = 3,
    images: int = 200,
    seed_spread: float = 0.0,
    image_set: str = "set",
) -> Drawn:
    """Configurations of some skill, whose seeds differ in skill, on images of different difficulty."""
    difficulty = rng.normal(0, 1, images)
    own = np.array(skills)[:, None] + rng.normal(0, seed_spread, (len(skills), seeds))
    answers = own[:, :, None] + rng.normal(0, 1, (len(skills), seeds, images)) > difficulty
    return {
        name: SeedStatistics.over(hits.mean(axis=1).tolist(), SeedImages(image_set, hits * 1.0))
        for name, hits in zip("abcdefgh", answers, strict=False)
    }


def without_images(drawn: Drawn) -> Drawn:
    return {name: SeedStatistics.over(sample.by_seed) for name, sample in drawn.items()}


@pytest.mark.parametrize(
    ("num", "seeds", "seed_spread"),
    [(2, 1, 0.0), (2, 3, 0.0), (2, 3, 0.1), (2, 2, 0.3), (4, 3, 0.1), (8, 1, 0.0)],
)
def test_of_equals_hardly_any_is_named_a_winner(num: int, seeds: int, seed_spread: float) -> None:
    rng = np.random.default_rng(2)
    drawn = (draw(rng, [0.0] * num, seeds, 100, seed_spread) for _ in range(NUM_NULLS))
    winners = sum(judge_lead(samples, 1).is_won for samples in drawn)
    assert winners / NUM_NULLS <= ALLOWED


def test_of_equals_by_seeds_alone_neither() -> None:
    rng = np.random.default_rng(3)
    drawn = (without_images(draw(rng, [0.0] * 3, 3, 50, 0.2)) for _ in range(NUM_NULLS))
    assert sum(judge_lead(samples, 1).is_won for samples in drawn) / NUM_NULLS <= ALLOWED


def test_the_best_is_among_those_that_tie() -> None:
    rng = np.random.default_rng(4)
    leads = [judge_lead(draw(rng, [0.1, 0.0, 0.0, -0.1], 2, 100, 0.1), 1) for _ in range(NUM_NULLS)]
    assert sum("a" in (lead.leader, *lead.ties) for lead in leads) / NUM_NULLS >= 0.95


@pytest.mark.parametrize(("seeds", "skill"), [(1, 0.5), (3, 0.4)])
def test_a_better_one_wins(seeds: int, skill: float) -> None:
    rng = np.random.default_rng(5)
    drawn = [draw(rng, [skill, 0.0], seeds, 200) for _ in range(200)]
    leads = [judge_lead(samples, 1) for samples in drawn]
    assert sum(lead.is_won and lead.leader == "a" for lead in leads) > 160
    assert judge_lead(drawn[0], -1).leader == "b"


def test_seeds_that_are_equal_by_chance_make_no_winner_of_figures_without_images() -> None:
    samples = {"a": SeedStatistics.over([0.5, 0.5]), "b": SeedStatistics.over([0.4, 0.4])}
    lead = judge_lead(samples, 1)
    assert not lead.is_won
    assert lead.describe() == (
        "no winner at 95%: a leads, whose 2 seeds are equal: nothing shows the spread over seeds or images"
    )


def test_images_of_different_sets_are_never_paired() -> None:
    rng = np.random.default_rng(6)
    first, other = draw(rng, [0.0, 0.0]), draw(rng, [0.0], image_set="another")
    same = compare_samples(first["a"], first["b"], SeedSpread())
    different = compare_samples(first["a"], other["a"], SeedSpread())
    assert (same.is_paired, same.num_images) == (True, 200)
    assert (different.is_paired, different.num_images, different.probability) == (False, 0, 1.0)


def test_the_verdict_says_on_what_it_rests_and_what_would_tell() -> None:
    rng = np.random.default_rng(7)
    won = judge_lead(draw(rng, [1.5, 0.0], 2, 1000, 0.05), 1)
    assert won.describe("trial {}".format) == "trial a wins at 95%, over 1,000 images and 2 seeds"
    once = judge_lead(draw(rng, [1.5, 0.0], 1), 1)
    assert once.describe() == "a wins at 95%, over 200 images; by one seed, and another may differ"
    seeds = {"a": SeedStatistics.over([0.5, 0.54, 0.58]), "b": SeedStatistics.over([0.49, 0.52, 0.54])}
    assert judge_lead(seeds, 1).describe() == (
        "no winner at 95%: a leads, b may be as good; about 40 seeds of each would tell"
    )
    right = {"a": [1.0] * 12 + [0.0] * 6, "b": [0.0] * 12 + [1.0] * 6}
    images = {name: np.array([*hits, *[1.0] * 82]) for name, hits in right.items()}
    close = {n: SeedStatistics.over([v.mean()], SeedImages("set", v[None])) for n, v in images.items()}
    assert judge_lead(close, 1).describe() == (
        "no winner at 95%: a leads, b may be as good; "
        "about 4 times as many images or further seeds would tell"
    )
    alike = {name: SeedStatistics.over([0.5]) for name in "abc"}
    assert judge_lead(alike, 1).describe() == "no winner: a, b and c are equal"
    blind = {"a": SeedStatistics.over([0.5]), "b": SeedStatistics.over([0.4])}
    assert judge_lead(blind, 1).describe() == (
        "no winner at 95%: a leads, by one seed: nothing shows the spread over seeds or images"
    )
    assert (judge_lead(blind, 1).is_won, judge_lead(blind, 1).is_largest) == (False, True)
    ahead = {**seeds, "c": SeedStatistics.over([0.9])}
    assert judge_lead(ahead, 1).describe() == (
        "no winner: a leads those with 3 seeds; with fewer, c did better, and would need as many"
    )
    assert Lead("a", 1).describe() == "no winner: a alone was measured"


def test_the_number_of_seeds_that_would_tell_tells_in_four_of_five_cases() -> None:
    rng = np.random.default_rng(8)
    draw_ours = partial(draw, rng, [0.12, 0.0], images=2000, seed_spread=0.1)
    needed = [
        evidence_needed(compare_samples(s["a"], s["b"], SeedSpread.of(s.values())), 5, 1)[0]
        for s in (draw_ours(seeds=5) for _ in range(40))
    ]
    enough = int(np.median(needed))
    assert 5 < enough < 40
    won = [judge_lead(draw_ours(seeds=enough), 1).is_won for _ in range(40)]
    assert 0.6 < np.mean(won) <= 1


def test_where_neither_more_seeds_nor_more_images_would_tell_both_are_named() -> None:
    samples = draw(np.random.default_rng(9), [0.2, 0.0], 3, 100, 0.3)
    difference = compare_samples(samples["a"], samples["b"], SeedSpread.of(samples.values()))
    seeds, images = evidence_needed(difference, 3, 1)
    remaining = difference.by_seeds * 3 / seeds + difference.by_images / images
    assert remaining <= (difference.value / 2.8) ** 2 < min(difference.by_seeds, difference.by_images)
    assert (
        judge_lead(samples, 1)
        .describe()
        .endswith(f"about {images:.0f} times as many images and {seeds:.0f} seeds of each would tell")
    )


def test_probabilities_are_corrected_for_their_number() -> None:
    assert correct_by_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct_by_holm([]) == []
