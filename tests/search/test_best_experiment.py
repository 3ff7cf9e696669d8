"""The experiment of the best parameters, beside files of other sweeps and people."""

from dataclasses import replace
from pathlib import Path

import pytest

from cosmos.config.experiment import load_params
from cosmos.config.search_space import TrialValues
from cosmos.config.sweep import Sweep
from cosmos.registry.candidates import Candidate
from cosmos.run.statistics.seed_statistics import SeedStatistics
from cosmos.search.best_experiment import withdraw_best_experiment, write_best_experiment
from tests.search.examples import RECALL, small_sweep

DEFAULT = "experiments/small-best.yaml"


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a place with params.yaml and experiments/ of its own."""
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    (tmp_path / "experiments").mkdir()
    monkeypatch.chdir(tmp_path)


def write(sweep: Sweep, number: int = 0) -> tuple[str, list[str]]:
    asked: TrialValues = {"pretrain.momentum": 0.95 + number / 100}
    best = Candidate(number, asked, 1, {RECALL: SeedStatistics.over([0.5])})
    return write_best_experiment(sweep, best, "wins")


def test_a_sweep_replaces_its_own_file() -> None:
    sweep = small_sweep(Path())
    assert write(sweep) == (DEFAULT, [])
    assert f"of {sweep.id}; edited, it is no longer replaced" in Path(DEFAULT).read_text()
    assert write(small_sweep(Path(), trials=99), 1) == (DEFAULT, [])
    assert load_params("small-best").pretrain.momentum == 0.96


def test_a_sweep_with_spaces_in_its_name_replaces_its_own_file() -> None:
    sweep = replace(small_sweep(Path()), name="my small\nsweep")
    path = f"experiments/{sweep.name}-best.yaml"
    assert write(sweep) == (path, [])
    assert write(sweep, 1) == (path, [])
    assert load_params(path).pretrain.momentum == 0.96


def test_a_file_of_another_sweep_is_kept_and_named() -> None:
    sweep, other = small_sweep(Path()), small_sweep(Path(), epochs=7)
    write(sweep)
    before = Path(DEFAULT).read_text()
    path = f"experiments/{other.id}-best.yaml"
    assert write(other) == (path, [f"{DEFAULT} is kept: {sweep.id} wrote it"])
    assert Path(DEFAULT).read_text() == before
    assert load_params(f"{other.id}-best").pretrain.epochs == 7
    assert write(sweep) == (DEFAULT, [])


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda text: text.replace("0.95", "0.97"), "it was edited"),
        (lambda text: text + "# mine\n", "it was edited"),
        (lambda text: text.partition("\n")[2], "no sweep of this version wrote it"),
        (lambda text: "about: a colleague's\n", "no sweep of this version wrote it"),
        (
            lambda text: "# Written by `cosmos sweep small`.\nabout: older\n",
            "no sweep of this version wrote it",
        ),
        (lambda text: "", "no sweep of this version wrote it"),
    ],
)
def test_a_file_that_somebody_edited_is_kept(edit, reason: str) -> None:  # type: ignore[no-untyped-def]
    sweep = small_sweep(Path())
    write(sweep)
    edited = edit(Path(DEFAULT).read_text())
    Path(DEFAULT).write_text(edited)
    assert write(sweep, 1) == (f"experiments/{sweep.id}-best.yaml", [f"{DEFAULT} is kept: {reason}"])
    assert Path(DEFAULT).read_text() == edited


def test_a_sweep_that_nothing_leads_any_more_deletes_its_own_file_alone() -> None:
    sweep = small_sweep(Path())
    write(small_sweep(Path(), epochs=7))
    write(sweep)
    own = f"experiments/{sweep.id}-best.yaml"
    assert withdraw_best_experiment(sweep) == [f"{own} is deleted: no trial leads any more"]
    assert Path(DEFAULT).exists()
    write(sweep)
    Path(own).write_text(Path(own).read_text() + "# mine\n")
    assert withdraw_best_experiment(sweep) == []
    assert Path(own).exists()


def test_where_both_names_are_taken_nothing_is_written() -> None:
    sweep = small_sweep(Path())
    for name in ("small", sweep.id):
        Path(f"experiments/{name}-best.yaml").write_text("about: mine\n")
    path, kept = write(sweep)
    assert path == ""
    assert len(kept) == 3
    assert kept[-1].startswith("delete or rename one of them")
    assert {file.read_text() for file in Path("experiments").iterdir()} == {"about: mine\n"}


def test_a_base_that_was_deleted_meanwhile_loses_no_conclusion(tmp_path: Path) -> None:
    Path("experiments/base.yaml").write_text("pretrain: {batch_size: 16}\n")
    sweep = small_sweep(Path(), experiment="base")
    Path("experiments/base.yaml").unlink()
    path, (remark,) = write(sweep)
    assert path == ""
    assert remark.startswith("no experiment is written: experiments/base.yaml: no such file")


def test_an_edited_base_changes_none_of_the_best_parameters() -> None:
    base = Path("experiments/base.yaml")
    base.write_text("pretrain: {batch_size: 16}\n")
    sweep = small_sweep(Path(), experiment="base")
    base.write_text("pretrain: {batch_size: 64, epochs: 9}\n")
    write(sweep)
    assert load_params("small-best") == sweep.params({"pretrain.momentum": 0.95}, 0)
