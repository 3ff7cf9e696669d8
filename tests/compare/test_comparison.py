import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cosmos.compare.comparison import Comparison, Contender, compare_named, mark_of_data
from cosmos.run.metrics import MetricsWriter
from cosmos.run.results import Results
from tests.compare.compared import R1, RESULT, machine, make_run, make_sweep, measure, spread, train_on
from tests.search.examples import RECALL, Bench


def contender(name: str, state: str = "finished", seeds: int = 1, **figures: float) -> Contender:
    deviation = math.nan if seeds == 1 else 0.1
    statistics = {figure: spread(value, deviation, seeds) for figure, value in figures.items()}
    return Contender(name, name, state, (None,) * seeds, {}, statistics)  # type: ignore[arg-type]


def best(*contenders: Contender) -> dict[str, set[str]]:
    return {figure: set(names) for figure, names in Comparison(contenders, ()).best.items()}


def test_parameters_that_differ_and_figures_of_runs(tmp_path: Path) -> None:
    make_run(tmp_path, "fast", 0.4, momentum=0.9)
    make_run(tmp_path, "folder/slow", 0.6, momentum=0.99)
    compared = compare_named(["fast", "folder/slow"], machine(tmp_path))
    assert compared.params == ["pretrain.momentum"]
    fast, slow = compared.contenders
    assert [entry.name for entry in compared.contenders] == ["fast", "folder/slow"]
    assert [entry.state for entry in compared.contenders] == ["finished", "finished"]
    assert slow.figures[RESULT].mean == 0.6
    assert fast.figures[f"evaluation/teacher/heldout/{R1}"].mean == 0.2
    assert fast.figures["samples"].mean == 320
    assert "epoch" not in fast.figures
    assert compared.best[RESULT] == {"folder/slow"}
    assert compared.best["loss"] == {"folder/slow"}
    assert compared.best["seconds"] == frozenset()  # alike
    assert compared.best["retrieval/heldout/teacher/image_to_text_mean_rank"] == {"folder/slow"}


@pytest.mark.parametrize(
    ("figure", "wanted"),
    [
        ("loss", "min"),
        ("device_seconds", "min"),
        ("samples_per_second", "max"),
        ("retrieval/heldout/teacher/image_to_text_median_rank", "min"),
        ("classification/cifar10/teacher/top1", "max"),
        ("retrieval/heldout/teacher/image_to_text_ties", ""),
        ("samples", ""),
    ],
)
def test_what_is_better(figure: str, wanted: str) -> None:
    only = replace(contender("a"), figures={figure: spread(1.0)})
    assert Comparison((only,), ()).directions == {figure: wanted}


@pytest.mark.parametrize(
    ("path", "judged"),
    [
        ("loss.distillation", {"loss": "", "contrastive": "", "seconds": "min"}),
        ("loss.distill_weight", {"loss": "", "contrastive": "", "seconds": "min"}),
        ("pretrain.batch_size", {"loss": "", "contrastive": "", "seconds": "min"}),
        ("views.num_local_crops", {"loss": "", "contrastive": "", "seconds": "min"}),
        ("pretrain.momentum", {"loss": "min", "contrastive": "min", "seconds": "min"}),
    ],
)
def test_no_loss_is_better_than_another_of_other_terms(path: str, judged: dict[str, str]) -> None:
    first, second = contender("a", loss=2.0, contrastive=1.0, seconds=3.0), contender("b", loss=3.0)
    pair = replace(first, params={path: 1}), replace(second, params={path: 2})
    assert Comparison(pair, ()).directions == judged


def test_what_finished_competes_where_anything_did() -> None:
    assert best(contender("a", loss=2.0), contender("b", loss=3.0), contender("c", "pruned", loss=1.0)) == {
        "loss": {"a"}
    }
    assert best(contender("a", "running", loss=2.0), contender("b", "stopped", loss=3.0)) == {"loss": {"a"}}


def test_one_lucky_seed_does_not_beat_three_which_do_not_beat_it_either() -> None:
    lucky, steady, worse = (
        contender("lucky", loss=0.7),
        contender("a", seeds=3, loss=0.8),
        contender("b", seeds=3, loss=2.0),
    )
    assert best(lucky, steady, worse) == {"loss": set()}
    assert best(steady, worse, contender("unlucky", loss=1.9)) == {"loss": {"a"}}
    assert best(steady, worse, contender("near", loss=0.85)) == {"loss": set()}


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=8))
def test_the_best_is_the_one_that_no_other_equals_or_beats(values: list[int]) -> None:
    leaders = best(*(contender(str(number), loss=float(value)) for number, value in enumerate(values)))[
        "loss"
    ]
    smallest = {str(number) for number, value in enumerate(values) if value == min(values)}
    assert leaders == (smallest if len(smallest) == 1 else set())


def test_a_lead_within_the_spread_over_seeds_is_not_marked() -> None:
    first, second = contender("a", seeds=2, loss=0.80), contender("b", seeds=2, loss=1.0)
    assert best(first, second) == {"loss": set()}
    assert best(first, contender("b", seeds=2, loss=2.0)) == {"loss": {"a"}}
    assert best(first, contender("b", seeds=2, loss=math.nan), contender("c", seeds=2, loss=2.0)) == {
        "loss": {"a"}
    }


def test_trials_of_a_sweep_are_its_contenders_with_their_seeds(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Bench())
    compared = compare_named([folder.path.name], machine(tmp_path))
    assert [sweep.path for sweep in compared.sweeps] == [folder.path]
    assert compared.objectives == [RECALL]
    assert {"pretrain.momentum", "loss.distill_weight"} == set(compared.params)
    assert len(compared.contenders) == 6
    winner, second, *others = compared.contenders
    assert [len(entry.runs) for entry in compared.contenders] == [2, 2, 1, 1, 1, 1]
    assert winner.is_winner
    assert not any(entry.is_winner for entry in (second, *others))
    values = [trial.values[RECALL] for trial in folder.trials if winner.label == f"trial-{trial.number:04d}"]
    assert winner.figures[RECALL].mean == pytest.approx(sum(values) / 2)
    assert winner.figures[RECALL].deviation > 0
    assert compared.best[RECALL] == {winner.name}
    assert [entry.label for entry in compared.contenders] == [
        Path(entry.name).name for entry in compared.contenders
    ]
    (first,) = (trial for trial in folder.trials if winner.label == trial.name)
    assert winner.params["pretrain.momentum"] == first.asked["pretrain.momentum"]


def test_a_sweep_says_itself_what_is_better(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Bench(), repeat=False, objectives=[{"figure": RECALL, "goal": "minimize"}])
    compared = compare_named([str(folder.path)], machine(tmp_path))
    means = {entry.name: entry.figures[RECALL].mean for entry in compared.contenders}
    assert compared.best[RECALL] == {min(means, key=lambda name: means[name])}
    assert list(means.values()) == sorted(means.values())


def test_failed_trials_stand_below_those_that_finished(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Bench(dies={"trial-0001": 9}), trials=3, repeat=False)
    compared = compare_named([folder.path.name], machine(tmp_path))
    assert compared.contenders[-1].name.endswith("trial-0001")
    assert compared.contenders[-1].state == "failed"
    assert RECALL not in compared.contenders[-1].figures


def test_paused_trials_stand_below_those_that_finished_with_their_epoch(tmp_path: Path) -> None:
    promote = {"name": "promote", "rungs": [1], "keep": 0.5}
    folder = make_sweep(tmp_path, Bench(), trials=2, repeat=False, pruner=promote, repeats={"best": 0})
    compared = compare_named([folder.path.name], machine(tmp_path))
    assert [entry.state for entry in compared.contenders] == ["finished", "paused at epoch 1 of 3"]
    finished = compared.contenders[0].runs[0]
    value = compared.contenders[0].figures[RECALL].mean
    suite, dataset, model, metric = RECALL.split("/")
    entry = {"models": {model: {metric: value}}, "data_hash": "a" * 64, "own_data": True}
    Results(finished.result_file(suite), suite).put(dataset, entry)
    again = compare_named([folder.path.name], machine(tmp_path))
    assert [c.data[RECALL] for c in again.contenders] == ["a" * 64] * 2  # a sweep measures on one version
    assert RECALL not in again.mixed


def test_a_sweep_goes_by_its_name_and_a_run_may_stand_beside_it(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, Bench(), repeat=False)
    make_run(tmp_path, "baseline")
    compared = compare_named(["small", "baseline", "small", "baseline"], machine(tmp_path))
    assert len(compared.contenders) == 7
    assert compared.contenders[0].label.startswith(f"{folder.path.name}/trial-")
    assert compared.contenders[-1].label == "baseline"


def test_a_name_that_is_none_is_told_with_names_near_it(tmp_path: Path) -> None:
    make_run(tmp_path, "baseline")
    make_run(tmp_path, "folder/ablation")
    with pytest.raises(ValueError, match=r"basline: no run and no sweep in .*; near it: baseline"):
        compare_named(["basline"], machine(tmp_path))
    with pytest.raises(ValueError, match="near it: folder/ablation"):
        compare_named(["folder/ablatoin"], machine(tmp_path))
    with pytest.raises(ValueError, match="`cosmos runs list` lists the runs"):
        compare_named(["zzz"], machine(tmp_path))
    with pytest.raises(ValueError, match="name runs or sweeps"):
        compare_named([], machine(tmp_path))


def test_a_damaged_run_is_compared_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    make_run(tmp_path, "whole")
    run = make_run(tmp_path, "damaged")
    run.result_file("retrieval").write_text("{")
    compared = compare_named(["whole", "damaged"], machine(tmp_path))
    assert "retrieval.json" in compared.contenders[1].problem
    assert "loss" in compared.contenders[1].figures


def test_contenders_in_one_folder_are_called_without_it(tmp_path: Path) -> None:
    make_run(tmp_path, "ablations/a")
    make_run(tmp_path, "ablations/b")
    compared = compare_named(["ablations/a", "ablations/b"], machine(tmp_path))
    assert [entry.label for entry in compared.contenders] == ["a", "b"]


def test_runs_that_differ_in_their_seed_alone_are_one_where_that_is_asked_for(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path, f"slow-{seed}", 0.6 + seed / 100, momentum=0.99, seed=seed)
        make_run(tmp_path, f"fast-{seed}", 0.4, momentum=0.9, seed=seed, done=seed < 3)
    evaluated = tmp_path / "slow-2" / "params.yaml"  # how it is evaluated makes it no other configuration
    evaluated.write_text(evaluated.read_text().replace("models:\n  - student\n", "models:\n"))
    names = [f"{name}-{seed}" for seed in (1, 2, 3) for name in ("slow", "fast")]
    compared = compare_named(names, machine(tmp_path), merges_seeds=True)
    slow, fast = compared.contenders
    assert (slow.name, fast.name) == ("slow-1", "fast-1")
    assert slow.figures[RESULT].by_seed == (0.61, 0.62, 0.63)
    assert [run.path.name for run in fast.runs] == ["fast-1", "fast-2"]  # the third has not finished
    assert compared.params == ["pretrain.momentum"]
    assert compared.best[RESULT] == {"slow-1"}
    assert len(compare_named(names, machine(tmp_path)).contenders) == 6


def test_seeds_on_other_data_are_not_merged_and_two_runs_of_one_seed_are_refused(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        train_on(make_run(tmp_path, f"run-{number}", seed=number), ("a" if number < 3 else "b") * 64)
    names = ["run-1", "run-2", "run-3", "run-1"]
    compared = compare_named(names, machine(tmp_path), merges_seeds=True)
    assert [len(entry.runs) for entry in compared.contenders] == [2, 1]
    train_on(make_run(tmp_path, "again", seed=2), "a" * 64)
    with pytest.raises(ValueError, match=r"run-2 and .*again: the same parameters and seed; name one"):
        compare_named([*names, "again"], machine(tmp_path), merges_seeds=True)


def test_results_of_the_same_data_stand_together_whosever_data_it_is(tmp_path: Path) -> None:
    mine, other = make_run(tmp_path, "mine", done=False), make_run(tmp_path, "other", done=False)
    measure(mine, {R1: 0.2}, data="a" * 64)
    Results(mine.result_file("retrieval"), "retrieval").put(
        "heldout", {"models": {"teacher": {R1: 0.1}}, "data_hash": "b" * 64, "own_data": False}
    )
    measure(other, {R1: 0.3}, data="b" * 64)
    compared = compare_named(["mine", "other"], machine(tmp_path))
    shared = f"retrieval/heldout@bbbbbbbb/teacher/{R1}"
    assert [entry.figures[shared].mean for entry in compared.contenders] == [0.1, 0.3]
    assert [entry.figures[RESULT].mean for entry in compared.contenders] == [0.2, 0.3]
    assert compared.best[shared] == {"other"}
    assert compared.mixed & {RESULT, shared} == {RESULT}


def test_what_a_run_did_not_record_is_no_difference(tmp_path: Path) -> None:
    older, newer = make_run(tmp_path, "older"), make_run(tmp_path, "newer", epochs=3)
    values = yaml.safe_load(older.params.read_text())
    del values["pretrain"]["max_damaged"]
    older.params.write_text(yaml.safe_dump(values))
    train_on(older, "a" * 64)
    train_on(newer, "a" * 64)
    recorded = json.loads(newer.provenance.read_text())
    newer.provenance.write_text(json.dumps({**recorded, "dataset": {"num_samples": 16, "num_shards": 2}}))
    assert compare_named(["older", "newer"], machine(tmp_path)).params == ["pretrain.epochs"]


def test_evaluations_while_training_on_other_data_are_told_apart(tmp_path: Path) -> None:
    figure = f"evaluation/teacher/coco/{R1}"
    for name, digest in (("a", "1" * 64), ("b", "2" * 64), ("c", "")):
        run = make_run(tmp_path, name)
        MetricsWriter(run.metrics, 10).log({"step": 10, "evaluation": {f"teacher/coco/{R1}": 0.1}})
        train_on(run, "a" * 64, **({"coco": digest} if digest else {}))
    marks = [
        mark_of_data(entry, figure) for entry in compare_named(["a", "b", "c"], machine(tmp_path)).contenders
    ]
    assert marks == ["@11111111", "@22222222", "@unknown"]
    assert figure in compare_named(["a", "b"], machine(tmp_path)).mixed
    assert figure in compare_named(["a", "c"], machine(tmp_path)).mixed
    assert figure not in compare_named(["a"], machine(tmp_path)).mixed
