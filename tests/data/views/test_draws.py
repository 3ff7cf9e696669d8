from collections import Counter

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms import RandomResizedCrop

from cosmos.config.params import ViewParams
from cosmos.data.views.draws import Draws, ViewDistribution

COUNT = 2000


def drawn(width: int = 120, height: int = 120, num_local_crops: int = 1, count: int = COUNT) -> Draws:
    """Draws of the views of `count` images, (count, V)."""
    rng = np.random.default_rng(0)
    distribution = ViewDistribution(ViewParams(num_local_crops=num_local_crops, crop_scale=0.4))
    return np.stack([distribution.draw(width, height, rng) for _ in range(count)])


@pytest.fixture(scope="module")
def views() -> Draws:
    """Draws of one view of each kind, (COUNT, 3), on a square image."""
    return drawn()


class TestTheTableOfViews:
    """Operations of each view are as frequent and as strong as in the method's table."""

    @pytest.mark.parametrize(
        ("name", "shares"),
        [
            ("is_flipped", (0.5, 0.5, 0.5)),
            ("is_jittered", (0.8, 0.8, 0.8)),
            ("is_grey", (0.2, 0.2, 0.2)),
            ("sigma", (1.0, 0.1, 0.5)),
            ("is_solarised", (0.0, 0.2, 0.0)),
        ],
    )
    def test_how_often(self, views: Draws, name: str, shares: tuple[float, ...]) -> None:
        measured = (views[name] > 0).mean(axis=0)
        assert measured == pytest.approx(shares, abs=0.04)
        assert [share in (0, 1) for share in measured] == [share in (0, 1) for share in shares]

    @pytest.mark.parametrize(("view", "least", "most"), [(0, 0.4, 1), (1, 0.4, 1), (2, 0.05, 0.4)])
    def test_share_of_the_area(self, views: Draws, view: int, least: float, most: float) -> None:
        shares = views["extent"][:, view].prod(axis=1) / 120**2
        assert least - 0.01 < shares.min() < least + 0.02
        assert most - 0.05 < shares.max() < most + 0.01

    def test_width_of_the_blur(self, views: Draws) -> None:
        sigmas = views["sigma"][:, 0]
        assert 0.1 <= sigmas.min() < 0.11
        assert 1.99 < sigmas.max() <= 2.0

    def test_strength_of_the_jitter(self, views: Draws) -> None:
        factors = np.concatenate([views["factors"], 1 + views["hue"][..., None]], axis=-1).reshape(-1, 4)
        reach = [0.4, 0.4, 0.2, 0.1]
        assert factors.min(axis=0) == pytest.approx(np.subtract(1, reach), abs=0.01)
        assert factors.max(axis=0) == pytest.approx(np.add(1, reach), abs=0.01)
        assert factors.mean(axis=0) == pytest.approx(np.ones(4), abs=0.02)

    def test_the_jitters_order(self, views: Draws) -> None:
        orders = Counter(zip(map(tuple, views["slots"].reshape(-1, 3)), views["hue_slot"].flat, strict=True))
        assert len(orders) == 24
        assert max(orders.values()) < 1.5 * min(orders.values())

    def test_draws_are_independent(self, views: Draws) -> None:
        names = ("is_flipped", "is_jittered", "hue", "hue_slot", "is_grey", "sigma")
        columns = [views[name][:, view].astype(float) for name in names for view in (1, 2)]
        columns += [*views["factors"][:, 1].T, views["is_solarised"][:, 1]]
        correlations = np.corrcoef(columns) - np.eye(len(columns))
        assert np.abs(correlations).max() < 0.1


class TestCrops:
    @pytest.mark.parametrize(("width", "height"), [(500, 375), (40, 200), (90, 60), (7, 5)])
    def test_are_distributed_as_torchvisions(self, width: int, height: int) -> None:
        def published(area: tuple[float, float]) -> NDArray[np.float64]:
            image = torch.empty(3, height, width)
            boxes = [RandomResizedCrop.get_params(image, area, (3 / 4, 4 / 3)) for _ in range(COUNT)]
            return np.array([[left, upper, wide, high] for upper, left, high, wide in boxes])

        torch.manual_seed(0)
        views = drawn(width, height)
        for view, area in ((0, (0.4, 1.0)), (2, (0.05, 0.4))):
            expected = published(area)
            ours = np.concatenate([views["corner"][:, view], views["extent"][:, view]], axis=1)
            error = np.sqrt((ours.var(axis=0) + expected.var(axis=0)) / COUNT)
            assert (np.abs(ours.mean(axis=0) - expected.mean(axis=0)) <= 4.5 * error).all()
            assert ours.std(axis=0) == pytest.approx(expected.std(axis=0), rel=0.1)

    @pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3), (3000, 4000)])
    def test_lie_inside_of_the_image(self, size: tuple[int, int]) -> None:
        views = drawn(*size, count=200)
        assert (views["extent"] > 0).all()
        assert (views["corner"] >= 0).all()
        assert (views["corner"] + views["extent"] <= size).all()

    def test_of_a_line_have_an_allowed_shape(self) -> None:
        extents = drawn(1, 5000, count=200)["extent"]
        assert extents.max() <= 2


def test_global_views_do_not_depend_on_the_number_of_local_ones() -> None:
    assert (drawn(count=1)[0, :2] == drawn(count=1, num_local_crops=6)[0, :2]).all()


def test_no_two_views_are_the_same() -> None:
    views = drawn(count=50, num_local_crops=6)
    assert len(np.unique(views["hue"])) == views.size
