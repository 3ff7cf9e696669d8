"""Law over sizes, and the rules by which batch, momentum and rate follow them."""

import math
from itertools import product

import numpy as np
import pytest

from cosmos.run.statistics.batch_rules import scale_batch, scale_learning_rate, scale_momentum
from cosmos.run.statistics.scaling_law import NoLawError, SizedRun, fit_scaling_law

SIZES, SAMPLES = (1e5, 4e5, 1e6, 5e6), (1e4, 5e4, 2e5, 1e6)


def loss_of(size: float, samples: float) -> float:
    return 1.2 + 30 * math.pow(size, -0.35) + 50 * math.pow(samples, -0.45)


def grid(factor: float = 1.0, noise: float = 0.0) -> list[SizedRun]:
    rng = np.random.default_rng(0)
    return [
        SizedRun(size, samples, factor * loss_of(size, samples) * math.exp(noise * rng.normal()))
        for size, samples in product(SIZES, SAMPLES)
    ]


def test_a_law_without_noise_is_found_and_forecasts_larger_runs() -> None:
    law = fit_scaling_law(grid())
    assert law.varied == ("size", "samples")
    assert law.floor == pytest.approx(1.2, rel=0.02)
    assert law.exponents == pytest.approx({"size": 0.35, "samples": 0.45}, rel=0.05)
    assert law.factor("size") == pytest.approx(30, rel=0.3)
    assert law.forecast(2e7, 4e6).value == pytest.approx(loss_of(2e7, 4e6), rel=0.01)


def test_the_next_run_has_the_split_of_least_loss_at_its_compute() -> None:
    law = fit_scaling_law(grid())
    size, samples = law.next_run()
    assert size * samples == pytest.approx(4 * 5e6 * 1e6)
    best = law.forecast(size, samples).value
    assert all(law.forecast(size * f, samples / f).value >= best for f in (0.7, 0.95, 1.05, 1.4))


def test_a_loss_in_other_units_has_the_same_law() -> None:
    law, other = fit_scaling_law(grid(noise=0.005)), fit_scaling_law(grid(100.0, noise=0.005))
    assert other.floor == pytest.approx(100 * law.floor, rel=0.02)
    assert other.exponents == pytest.approx(law.exponents, rel=0.05)


def test_an_interval_has_the_scatter_of_the_runs_and_grows_beyond_them() -> None:
    law = fit_scaling_law(grid(noise=0.01))
    near, far = law.forecast(1e6, 2e5), law.forecast(1e9, 1e9)
    assert 0.005 < math.log(near.high / near.low) < 0.06
    assert math.log(far.high / far.low) > math.log(near.high / near.low)
    assert near.holds(loss_of(1e6, 2e5))


def test_a_quantity_that_is_the_same_in_all_runs_has_no_term() -> None:
    runs = [SizedRun(1e6, samples, loss_of(1e6, samples)) for samples in SAMPLES]
    law = fit_scaling_law(runs)
    assert law.varied == ("samples",)
    assert law.next_run() == (1e6, 4e6)
    by_size = fit_scaling_law([SizedRun(size, 1e5, loss_of(size, 1e5)) for size in SIZES])
    assert by_size.next_run() == (2e7, 1e5)


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        (
            [],
            "varies; there are 0 sizes of the model and 0 numbers of samples seen",
        ),
        ([SizedRun(1e6, 1e5, 2.0)] * 9, "there are 1 size of the model and 1 number of samples seen"),
        ([SizedRun(1e6, 1e5, 2.0), SizedRun(2e6, 1e5, 1.9)] * 3, "there are 2 sizes of the model"),
        ([SizedRun(size, 1e5, 2.0) for size in SIZES[:3]], "3 runs: a law of size needs 4 or more"),
        (
            [SizedRun(size, samples, 2.0) for size, samples in zip(SIZES, SAMPLES, strict=True)],
            "4 runs: a law of size and samples needs 6",
        ),
        (
            [SizedRun(size * (1 + i / 100), 1e5, 2.0) for size in SIZES[:2] for i in range(4)],
            "2 sizes",
        ),
    ],
)
def test_runs_that_are_too_few_or_too_alike_are_told(runs: list[SizedRun], reason: str) -> None:
    with pytest.raises(NoLawError, match=reason):
        fit_scaling_law(runs)


@pytest.mark.parametrize("power", [0.1, 0.0])
def test_a_loss_that_does_not_fall_as_models_grow_has_no_law(power: float) -> None:
    rng = np.random.default_rng(0)
    runs = [SizedRun(size, 1e5, math.pow(size, power) * math.exp(0.01 * rng.normal())) for size in SIZES * 2]
    with pytest.raises(NoLawError, match="over these runs the size of the model lowers the loss by"):
        fit_scaling_law(runs)


def test_momentum_and_rate_follow_the_batch() -> None:
    assert scale_momentum(0.99, 2.0) == pytest.approx(0.9801)
    assert scale_momentum(0.9801, 0.5) == pytest.approx(0.99)
    assert scale_momentum(1.0, 8) == 1.0
    assert scale_learning_rate(1e-3, 4.0) == pytest.approx(2e-3)


def test_the_batch_grows_with_about_the_root_of_the_samples() -> None:
    assert scale_batch(32, 1.0) == 32
    assert scale_batch(4096, 4.0) == 8192
    assert scale_batch(16, 2.0) == 24
    assert scale_batch(1, 0.1) == 1
