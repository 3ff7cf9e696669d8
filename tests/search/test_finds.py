"""Quality of the search: with equally many trials, TPE comes closer to the best than random search."""

from pathlib import Path
from statistics import median

import pytest
import yaml

from cosmos.config.params import Params
from cosmos.config.sweep_loading import SWEEPS_FOLDER, load_sweep
from tests.search.examples import RECALL, Bench, controller

NUM_SEEDS, NUM_TRIALS = 20, 30


def synthetic(params: Params) -> list[float]:
    """A recall with one best place in the space of ema-crops-weights, as smooth as one might hope for."""
    terms = params.loss.distill_terms
    off = (
        ((params.pretrain.momentum - 0.99) / 0.03) ** 2,
        ((params.views.crop_scale - 0.4) / 0.2) ** 2,
        ((params.views.num_local_crops - 6) / 4) ** 2,
        ((params.views.num_captions - 6) / 4) ** 2,
        (params.loss.distill_weight / 2 - 1) ** 2 / 4,
        (terms.image_to_text - terms.text_to_image) ** 2,
    )
    return [1 / (1 + sum(off))]


def best_found(folder: Path, sampler: str, seed: int) -> float:
    values = yaml.safe_load((SWEEPS_FOLDER / "ema-crops-weights.yaml").read_text())
    path = folder / f"{sampler}-{seed}.yaml"
    fixed = {**values["fixed"], "pretrain": {**values["fixed"]["pretrain"], "seed": seed}}
    changed = {"fixed": fixed, "sampler": {"name": sampler}, "objectives": [{"figure": RECALL}]}
    path.write_text(yaml.safe_dump({**values, **changed}))
    lead = controller(load_sweep(str(path)), folder, Bench(synthetic), parallel=4)
    list(lead.search(NUM_TRIALS))
    return lead.study.best_value


@pytest.mark.slow
def test_tpe_beats_random_search_at_equal_trials(tmp_path: Path) -> None:
    medians = {
        sampler: median(best_found(tmp_path, sampler, seed) for seed in range(NUM_SEEDS))
        for sampler in ("tpe", "random")
    }
    assert medians["tpe"] > medians["random"] + 0.05, medians
