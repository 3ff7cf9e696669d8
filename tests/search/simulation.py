"""Searches in a simulated world: trials have learning curves with noise and cost device-seconds; none trains.

    python -m tests.search.simulation        # the table of docs/sweeps.md: some minutes

Curves cross: a low momentum of the teacher learns fast at first, the best one is higher. Of two runs that
differ in the seed alone, figures differ by SEED_NOISE; of one run, from epoch to epoch, by NOISE.
"""

import json
import math
import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import optuna
import yaml

from cosmos.config.params import Params
from cosmos.config.sweep import Sweep
from cosmos.config.sweep_loading import SWEEPS_FOLDER, load_sweep
from cosmos.registry.candidates import rank_candidates
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.run.sweep_directory import SweepDir
from cosmos.search import controller
from cosmos.search.controller import Controller
from cosmos.search.study import make_pruner
from cosmos.search.trial_jobs import TrialJobState

EPOCHS, PARALLEL = 8, 4
NOISE, SEED_NOISE = 0.01, 0.01


def final_value(params: Params) -> float:
    """A recall with one best place in the space of ema-crops-weights, as smooth as may be hoped for."""
    terms = params.loss.distill_terms
    off = (
        ((params.pretrain.momentum - 0.99) / 0.03) ** 2,
        ((params.views.crop_scale - 0.4) / 0.2) ** 2,
        ((params.views.num_local_crops - 6) / 4) ** 2,
        ((params.views.num_captions - 6) / 4) ** 2,
        (params.loss.distill_weight / 2 - 1) ** 2 / 4,
        (terms.image_to_text - terms.text_to_image) ** 2,
    )
    return 1 / (1 + sum(off))


def value_at(params: Params, epoch: int) -> float:
    """The recall that is measured after so many epochs."""
    rate = 1 + 5 * min(1.0, (1 - params.pretrain.momentum) / 0.1) ** 0.5
    learned = (1 - math.exp(-rate * epoch / EPOCHS)) / (1 - math.exp(-rate))
    configuration = repr((final_value(params), params.pretrain.seed))
    noise = random.Random(configuration).gauss(0, SEED_NOISE)
    noise += random.Random(f"{configuration} {epoch}").gauss(0, NOISE)
    return final_value(params) * learned + noise


def seconds_of_epoch(params: Params) -> float:
    """Crops and captions cost time."""
    return 1 + 0.1 * params.views.num_local_crops + 0.05 * params.views.num_captions


@dataclass
class SimulatedJobs:
    """Runner of trials that take an epoch between two looks of the controller."""

    num_ranks: int = 1
    params: dict[str, Params] = field(default_factory=dict)
    until: dict[str, int] = field(default_factory=dict)
    trained: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    """device-seconds so far"""
    finished: list[tuple[float, float]] = field(default_factory=list)
    """of each trial that was trained in full: the device-seconds until then, and its value without noise"""

    def start(self, run: RunDir, params: Params, until: int) -> TrialJobState:
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        run.checkpoint(1).touch()
        self.params[run.path.name], self.until[run.path.name] = params, until
        return TrialJobState("running", "1", 1)

    def state(self, run: RunDir) -> TrialJobState:
        name = run.path.name
        params, end = self.params[name], self.until[name] or EPOCHS
        if self.trained[name] < end:
            self.trained[name] += 1
            epoch = self.trained[name]
            self.seconds += seconds_of_epoch(params)
            line = {"step": epoch, "epoch": epoch, "loss": 1 - value_at(params, epoch)}
            with run.metrics.open("a") as file:
                file.write(json.dumps(line) + "\n")
            if epoch == EPOCHS:
                self.finished.append((self.seconds, final_value(params)))
        return TrialJobState("running" if self.trained[name] < end else "finished", "1", 1)

    def stop(self, run: RunDir) -> bool:
        return True


@dataclass(frozen=True)
class SearchOutcome:
    """Outcome of a simulated search."""

    seconds: float
    """device-seconds of its trials, without repetitions"""
    value: float
    """largest value without noise of a trial that finished"""
    finished: list[tuple[float, float]]
    is_wrong: bool
    """a winner was named, and another trial that was begun is better by more than the noise"""

    def seconds_to(self, value: float) -> float:
        """Device-seconds until a trial finished that is at least as good; infinite where none did."""
        return min((seconds for seconds, reached in self.finished if reached >= value), default=math.inf)


def simulated_sweep(folder: Path, seed: int, **changes: Any) -> Sweep:
    values = yaml.safe_load((SWEEPS_FOLDER / "ema-crops-weights.yaml").read_text())
    values["space"]["pretrain.momentum"]["low"] = 0.9  # as the table in docs/sweeps.md was measured
    values |= {"pruner": {"name": "none"}, "repeats": {"best": 3, "seeds": 2}}
    fixed = {"pretrain": {"evaluate_every_epochs": 1, "seed": seed}}
    path = folder / "simulated.yaml"
    path.write_text(
        yaml.safe_dump(
            {**values, "fixed": fixed, "epochs": EPOCHS, "objectives": [{"figure": "loss"}], **changes}
        )
    )
    return load_sweep(str(path))


def simulate(seed: int, trials: int, **changes: Any) -> SearchOutcome:
    """Search with so many trials, and repeat the best."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(controller, "POLL_SECONDS", 0.0),
        mock.patch("cosmos.run.files.os.fsync"),
    ):
        sweep, jobs = simulated_sweep(Path(folder), seed, **changes), SimulatedJobs()
        place = SweepDir(Path(folder) / sweep.id)
        place.write_definition(sweep)
        study = optuna.create_study(direction="minimize", pruner=make_pruner(sweep.file.pruner))
        lead = Controller(sweep, place, study, jobs, PARALLEL, Lease.take(place.own))
        for _ in lead.search(trials):
            pass
        seconds, finished = jobs.seconds, list(jobs.finished)
        for _ in lead.repeat():
            pass
        ranked = rank_candidates(sweep, place.trials)
        begun = [final_value(params) for params in jobs.params.values()]
        winners = [final_value(sweep.params(best.asked, 0)) for best in ranked if best.is_best]
        is_wrong = any(max(begun) - value > NOISE + SEED_NOISE for value in winners)
    return SearchOutcome(seconds, max(value for _, value in finished), finished, is_wrong)


WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "random, none": (30, {"sampler": {"name": "random"}}),
    "tpe, none": (30, {}),
    "tpe, median": (30, {"pruner": {"name": "median"}}),
    "tpe, hyperband": (30, {"pruner": {"name": "hyperband"}}),
    "tpe, halving": (30, {"pruner": {"name": "halving"}}),
    "tpe, promote": (40, {"pruner": {"name": "promote", "rungs": [1, 2, 4]}}),
}
"""Ways to search: number of trials, and changes of the sweep."""


def simulate_all(way: str, num_seeds: int = 20) -> list[SearchOutcome]:
    trials, changes = WAYS[way]
    return [simulate(seed, trials, **changes) for seed in range(num_seeds)]


def main() -> None:
    outcomes = {way: simulate_all(way) for way in WAYS}
    today = max((way for way in WAYS if way != "tpe, promote"), key=lambda way: median_value(outcomes[way]))
    target = median_value(outcomes[today])
    print(f"best of today: {today}, {target:.3f}")
    for way, searches in outcomes.items():
        total = median(search.seconds for search in searches)
        needed = median(search.seconds_to(target) for search in searches)
        wrong = sum(search.is_wrong for search in searches)
        print(f"{way:15} {WAYS[way][0]} trials: value {median_value(searches):.3f}, {total:.0f} s", end=", ")
        print(f"{needed:.0f} s to that value, {wrong} wrong winners")


def median_value(searches: list[SearchOutcome]) -> float:
    return median(search.value for search in searches)


if __name__ == "__main__":
    main()
