from pathlib import Path
from typing import Any

import pytest
import yaml

from cosmos.config.figures import SUITE_METRICS, TRAINING_METRICS, Metric
from cosmos.config.sweep import Objective, Sweep
from cosmos.config.sweep_loading import SWEEPS_FOLDER, load_sweep
from cosmos.errors import InputError
from tests.search.examples import RECALL, SMALL, TIME, small_sweep, write_sweep

MOMENTUM, CAPTIONS = "pretrain.momentum", "views.num_captions"
RANGE = {"low": 0.9, "high": 0.999}


def on(path: str, distribution: str, **values: Any) -> dict[str, Any]:
    return {"space": {path: {"distribution": distribution, **values}}}


def when(loss: str) -> dict[str, Any]:
    """Return a space in which the momentum is searched with one of the losses."""
    losses = {"distribution": "categorical", "choices": ["clip", "siglip"]}
    momentum = {"distribution": "float", **RANGE, "when": {"loss.contrastive": loss}}
    return {"space": {"loss.contrastive": losses, MOMENTUM: momentum}}


def toward(*figures: str, **changes: Any) -> dict[str, Any]:
    return {"objectives": [{"figure": figure} for figure in figures], **changes}


def within(figure: str, **limits: Any) -> dict[str, Any]:
    others = {key: limits.pop(key) for key in list(limits) if key in ("pruner", "fixed")}
    return {"constraints": [{"figure": figure, **limits}], **others}


def promote(*rungs: int, **changes: Any) -> dict[str, Any]:
    return {"pruner": {"name": "promote", "rungs": list(rungs)}, **changes}


@pytest.mark.parametrize("name", sorted(path.stem for path in SWEEPS_FOLDER.glob("*.yaml")))
def test_what_is_shipped_can_run(name: str) -> None:
    assert load_sweep(name).file.about


def test_the_sweep_of_what_cosmos_adds_searches_momentum_crops_and_weights() -> None:
    assert {"pretrain.momentum", "views.num_local_crops", "views.num_captions", "views.crop_scale"} <= set(
        load_sweep("ema-crops-weights").file.space
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            on("pretrain.momentun", "log-one-minus", **RANGE),
            r"momentun: no such parameter; near it: pretrain\.mom",
        ),
        (
            on(MOMENTUM, "float", low=0.9, high=1.5),
            r"space\.pretrain\.momentum: 1\.5: .*less than or equal to 1",
        ),
        (on(CAPTIONS, "int", low=1, high=4), r"space\.views\.num_captions: 1: .*greater than or equal to 2"),
        (on(CAPTIONS, "float", low=2.5, high=4), r"space\.views\.num_captions: 2\.5: .*valid integer"),
        (on("loss.contrastive", "categorical", choices=["clip", "cloob"]), r"'cloob': .*'clip' or 'siglip'"),
        (on(MOMENTUM, "categorical", choices=[0.9, "0.99"]), r"'0\.99': is taken for 0\.99; write it so"),
        (on(MOMENTUM, "categorical", choices=[True, 0.9]), r"True: expected a number, not a Boolean"),
        (on(MOMENTUM, "float", low="0.9", high=True), r"momentum\.high: expected a number, not a Boolean"),
        (on(MOMENTUM, "floaat", **RANGE), r"momentum: distribution: expected float, .* categorical"),
        (
            {"space": {MOMENTUM: {"distribution": "float", "lo": 0, "high": 1}}},
            r"lo: no such key; near it: low, log;",
        ),
        ({"objectives": None}, r"objectives: has no value"),
        (
            {**on("pretrain.beta1", "float", **RANGE), "fixed": {"pretrain": {"beta1": 0.9}}},
            r"beta1: `fixed` or",
        ),
        (
            {**on("pretrain.epochs", "int", low=1, high=3), "epochs": 2},
            r"pretrain\.epochs: `fixed` or `epochs`",
        ),
        (
            {"epochs": 2, "fixed": {"pretrain": {"epochs": 3}}},
            r"fixed\.pretrain\.epochs set the same",
        ),
        (when("siglp"), r"momentum\.when: loss\.contrastive is never 'siglp'"),
        (on("pretrain.seed", "int", low=0, high=9), r"space\.pretrain\.seed: not to be searched"),
        (on("data.max_skipped", "float", low=0, high=0.5), r"max_skipped: .*would not compare"),
        (
            on("views.local_size", "int", low=8, high=128, step=8),
            r"may be asked for \{.*larger than views\.image_",
        ),
        (on(MOMENTUM, "float", **RANGE, when={"pretrain.epochs": 3}), r"pretrain\.epochs is not searched"),
        (toward("retrieval/heldout/mean"), r"name it as <suite>/<dataset>/<model>/<metric>"),
        (
            toward(RECALL.replace("heldout", "coco")),
            r"coco is not among evaluate\.retrieval\.datasets \(heldout\)",
        ),
        (toward(RECALL.replace("student", "pupil")), r"pupil is not among evaluate\.models"),
        (toward("retrieval/heldout/student/R@1"), r"no metric R@1; retrieval has .*image_to_text_R@1"),
        (toward("retrieval/heldout/student/text_to_image_ties"), r"no metric text_to_image_ties; retrieval"),
        (toward("segmentation/demo/student/csa_mIuO"), r"no metric csa_mIuO; segmentation has csa_mIoU"),
        (toward("segmentation/demo/student/mIoU"), r"no metric mIoU; segmentation has .*csa_mIoU"),
        (
            toward(
                "segmentation/demo/student/csa_mIoU",
                fixed={"evaluate": {"segmentation": {"attention": ["plain"]}}},
            ),
            r"no metric csa_mIoU; segmentation has plain_mIoU",
        ),
        (toward("detection/coco/student/mAP"), r"detection is no suite"),
        (toward(RECALL, RECALL), r"objectives: retrieval/\S+ is named twice"),
        (toward("los"), r"objectives: los: no such figure of training; near it: loss"),
        (toward("grad_norm"), r"objectives: grad_norm: .*add `goal: maximize` or `goal: minimize`"),
        (toward("classification/demo/student/top_one"), r"no metric top_one; classification has .*top1"),
        (
            {"objectives": [{"figure": "classification/demo/student/top_one", "goal": "maximize"}]},
            r"no metric top_one; classification has .*top1",
        ),
        (toward("classification/demo/student/accuracy/red"), r"trials have no figures of single classes"),
        (
            toward(RECALL, TIME, pruner={"name": "hyperband"}),
            r"hyperband knows one objective .*; take median",
        ),
        (within("device_memory", max=4e10, pruner={"name": "hyperband"}), r"hyperband knows one objective"),
        (
            toward(RECALL, "classification/demo/student/top1", pruner={"name": "halving"}),
            r"halving needs figures while training, which classification has none of",
        ),
        (
            within("device_memry", max=1),
            r"constraints: device_memry: no such figure .*near it: device_memory",
        ),
        (within("device_memory"), r"constraints\.0: states no limit; add `max`, `min` or both"),
        (within("device_memory", min=2, max=1), r"constraints\.0: min: 2 is above max: 1"),
        (within("device_memory", max="40 GB"), r"constraints\.0\.max: .*valid number"),
        (within("device_memory", max=float("inf")), r"constraints\.0\.max: expected a finite number"),
        (within("device_memory", most=1), r"constraints\.0\.most: no such key"),
        (
            within(RECALL, min=20),
            r"constraints: retrieval/\S+: a share lies between 0 and 1, .* 20; 20% is 0\.2",
        ),
        (within(RECALL.replace("_R", "-R"), min=0.2), r"no metric text_to_image-R@1; .*text_to_image_R@1"),
        (
            within(
                "classification/demo/student/top1",
                min=0.2,
                fixed={"evaluate": {"classification": {"datasets": ["cifar10"]}}},
            ),
            r"demo is not among",
        ),
        (
            toward("classification/demo/student/top1", pruner={"name": "median"}),
            r"classification has none of; fixed: evaluate: while_training: \[classification\]",
        ),
        (
            toward(TIME, pruner={"name": "median"}),
            r"needs figures while training, and device_seconds is none",
        ),
        ({"pruner": {"name": "median"}, "fixed": {}}, r"evaluate_every_epochs: 1 measures them"),
        ({"pruner": {"name": "promote"}}, r"pruner: rungs: promote needs them, such as \[1, 2, 4\]"),
        ({"pruner": {"name": "median", "rungs": [1]}}, r"pruner: rungs: .* no other pruner has any"),
        ({"pruner": {"name": "promote", "rungs": [2, 1]}}, r"pruner: rungs: expected each once, in asc"),
        (promote(3, 5), r"pruner\.rungs: 3: a trial has 3 epochs; name fewer"),
        ({"trials": 10**30}, r"trials: .*less than or equal to 100000"),
        ({"repeats": {"seeds": 10**30}}, r"repeats\.seeds: .*less than or equal to 100000"),
        (promote(0, 1), r"pruner\.rungs\.0: .*greater than 0"),
        (
            promote(1, fixed={"pretrain": {"evaluate_every_epochs": 2}}),
            r"pruner\.rungs: 1: evaluations are every 2 epochs; name a multiple of that",
        ),
        (
            promote(1, fixed={}, **on("pretrain.evaluate_every_epochs", "int", low=1, high=2)),
            r"evaluate_every_epochs: trials with rungs are measured alike; set it in `fixed`",
        ),
        (promote(1, fixed={}), r"promote needs figures while training; .*evaluate_every_epochs: 1"),
        ({"fixed": {"pretrain": {"epoch": 1}}}, r"pretrain\.epoch: no such key"),
        ({"sampler": {"name": "grid"}}, r"sampler\.name: .*'tpe'"),
        ({"space": {}}, r"space: .*at least 1 item"),
        ({"trails": 3}, r"trails: no such key; near it: trials; docs/sweeps\.md lists"),
    ],
)
def test_what_cannot_run_is_refused_by_its_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        small_sweep(tmp_path, **changes)
    assert str(refused.value).startswith(str(tmp_path / "small.yaml"))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("objectives:", "objctives:", r"objctives: no such key; near it: objectives; .*line 17\)"),
        ("figure:", "figur:", r"objectives\.0\.figur: no such key; near it: figure; .*line 18\)"),
        ("low:", "lo:", r"space\.pretrain\.momentum\.lo: no such key; near it: low, log; .*line 10\)"),
        ("distribution:", "distrbution:", r"momentum: distrbution: no such key; near it: distribution "),
        ("low: 0.1", "low: [0.1]", r"distill_weight\.low: Input should be a valid number .*line 14\)"),
        (
            "low: 0.1",
            "low: 0.1\n    when: {a: {b: 1}}",
            r"when\.a: expected a Boolean, a number, a text or a list",
        ),
        (
            "  pretrain:",
            "  pretain:",
            r"pretain: no such key; near it: pretrain; .*\(in \S+small\.yaml, line 2\)",
        ),
    ],
)
def test_a_typo_is_told_once_with_its_line_and_the_near_key(
    tmp_path: Path, before: str, after: str, told: str
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(SMALL, sort_keys=False).replace(before, after, 1))
    with pytest.raises(InputError, match=told) as refused:
        load_sweep(str(file))
    assert str(refused.value).count("\n") == 1


@pytest.mark.parametrize("text", ["pretrain: {evaluate_every_epochs: 0}", ""], ids=["other", "empty"])
def test_what_cannot_run_with_its_base_names_the_files_of_the_base(tmp_path: Path, text: str) -> None:
    base = tmp_path / "base.yaml"
    base.write_text(text)
    with pytest.raises(
        InputError, match=rf"small\.yaml, .* from params\.yaml, {base}, fixed in .*:\n  pruner"
    ):
        small_sweep(tmp_path, experiment=str(base), **promote(1, fixed={"pretrain": {"epochs": 3}}))


def test_a_name_that_is_none_lists_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"lrr: no such file, .*; near it: lr$"):
        load_sweep("lrr")


def test_a_sweep_of_other_values_is_another_and_one_of_more_trials_is_not(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    assert small_sweep(tmp_path, trials=99, about="again", sampler={"name": "random"}).id == sweep.id
    assert small_sweep(tmp_path, **promote(1)).id == sweep.id
    others = [
        small_sweep(tmp_path, epochs=2).id,
        small_sweep(tmp_path, fixed={"pretrain": {"evaluate_every_epochs": 1, "beta1": 0.8}}).id,
        small_sweep(tmp_path, **on(MOMENTUM, "log-one-minus", **RANGE)).id,
        small_sweep(tmp_path, objectives=[{"figure": RECALL, "goal": "minimize"}]).id,
        small_sweep(tmp_path, constraints=[{"figure": TIME, "max": 3}]).id,
        load_sweep(str(write_sweep(tmp_path / "other.yaml"))).id,
    ]
    assert len({sweep.id, *others}) == 7
    assert small_sweep(tmp_path, constraints=[]).id == sweep.id


def test_a_sweep_is_read_as_it_was_dumped(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path)
    assert Sweep.load(sweep.dump()) == sweep
    limits = [{"figure": "device_memory", "max": "40e9"}, {"figure": RECALL, "min": 0.2, "max": 0.9}]
    limited = small_sweep(tmp_path, constraints=limits)
    assert limited.file.constraints[0].max == 40e9
    assert Sweep.load(limited.dump()) == limited
    sweep = small_sweep(tmp_path, **promote(1, 2))
    assert Sweep.load(sweep.dump()) == sweep


def test_a_constraint_says_how_far_beyond_its_limit_a_value_is_as_a_share_of_it(tmp_path: Path) -> None:
    limits = [
        {"figure": "device_memory", "max": 40e9},
        {"figure": RECALL, "min": 0.2},
        {"figure": "loss", "max": 0},
    ]
    sweep = small_sweep(tmp_path, constraints=limits)
    values = {"device_memory": 50e9, RECALL: 0.2, "loss": 3.0, TIME: 5.0}
    assert sweep.excesses(values) == {
        "device_memory <= 40000000000": 0.25,
        f"{RECALL} >= 0.2": 0.0,
        "loss <= 0": 3.0,
    }
    assert sweep.breaches(values) == ["device_memory <= 40000000000", "loss <= 0"]
    assert sweep.breaches({"device_memory": 40e9}) == []
    ties = {"figure": "retrieval/heldout/student/text_to_image_ties", "max": 0.1}
    assert small_sweep(tmp_path, constraints=[ties]).suites == ["retrieval"]


def test_a_rung_is_one_of_the_longest_trials_that_there_may_be(tmp_path: Path) -> None:
    space = on("pretrain.epochs", "int", low=1, high=9)
    sweep = small_sweep(tmp_path, **space, **promote(4, 8))
    assert [sweep.next_rung({"pretrain.epochs": epochs}, 0) for epochs in (3, 4, 5, 9)] == [0, 0, 4, 4]
    assert [sweep.next_rung({"pretrain.epochs": 9}, reached) for reached in (3, 4, 8)] == [4, 8, 0]


def whole_figures() -> list[tuple[str, Metric]]:
    """A figure of every metric that is declared, but for those of single classes."""
    training = [(metric.name, metric) for metric in TRAINING_METRICS]
    return training + [
        (f"{suite}/demo/student/{metric.name}", metric)
        for suite, metrics in SUITE_METRICS.items()
        for metric in metrics
        if not metric.is_family
    ]


@pytest.mark.parametrize(("figure", "metric"), whole_figures())
def test_a_goal_that_is_left_out_is_the_better_direction_of_the_metric(figure: str, metric: Metric) -> None:
    goal = {"max": "maximize", "min": "minimize", "": ""}[metric.direction]
    assert Objective.model_validate({"figure": figure}).goal == goal
    for stated in ("maximize", "minimize"):
        assert Objective.model_validate({"figure": figure, "goal": stated}).goal == stated
    if figure in ("loss", TIME):
        assert goal == "minimize"


def test_a_goal_that_is_stated_as_the_figure_has_it_makes_no_other_sweep(tmp_path: Path) -> None:
    stated = small_sweep(tmp_path, objectives=[{"figure": RECALL, "goal": "maximize"}])
    assert small_sweep(tmp_path, objectives=[{"figure": RECALL}]).id == stated.id
    objectives = stated.file.model_dump(mode="json", include={"objectives"})
    assert objectives == {"objectives": [{"figure": RECALL, "goal": "maximize"}]}  # as in ids of older sweeps


def test_dumps_of_older_versions_left_out_the_goal_to_maximize(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, objectives=[{"figure": "loss", "goal": "maximize"}])
    dump = sweep.dump()
    dump["sweep"] |= {"objectives": [{"figure": "loss"}]}
    assert Sweep.load(dump) == sweep


def test_trials_have_the_base_of_another_experiment_where_one_is_given(tmp_path: Path) -> None:
    path = str(write_sweep(tmp_path / "small.yaml"))
    assert load_sweep(path).base.loss.distillation == "cross-modal"
    assert load_sweep(path, "image-only").base.loss.distillation == "image-only"


def test_a_repetition_differs_by_its_seed_alone(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, fixed={**SMALL["fixed"], "loss": {"contrastive_weight": 2.0}})
    first, second = (sweep.params({"pretrain.momentum": 0.95}, seed) for seed in (0, 2))
    assert (first.pretrain.momentum, first.loss.contrastive_weight) == (0.95, 2.0)
    assert second == first.model_copy(
        update={"pretrain": first.pretrain.model_copy(update={"seed": first.pretrain.seed + 2})}
    )


def test_numbers_of_a_space_are_numbers_however_they_are_written_and_empty_sections_change_nothing(
    tmp_path: Path,
) -> None:
    text = """
experiment:
fixed:
sampler:
repeats: {best: 1e0}
space:
  pretrain.learning_rate: {distribution: categorical, choices: [1e-4, 1e-3]}
  pretrain.momentum: {distribution: float, low: 9e-1, high: 1, when: {pretrain.learning_rate: 1e-4}}
objectives: [{figure: loss}]
"""
    (tmp_path / "numbers.yaml").write_text(text.replace("experiment:\n", ""))
    file = load_sweep(str(tmp_path / "numbers.yaml")).file
    assert file.space["pretrain.learning_rate"].extremes == (1e-4, 1e-3)
    assert file.space["pretrain.momentum"].when == {"pretrain.learning_rate": 1e-4}
    assert (file.repeats.best, file.objectives[0].goal) == (1, "minimize")


def test_a_key_that_stands_twice_in_a_sweep_is_refused_with_both_lines(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("space:\n  pretrain.momentum: {}\n  pretrain.momentum: {}\n")
    with pytest.raises(ValueError, match=r"space\.pretrain\.momentum stands twice, in lines 2 and 3"):
        load_sweep(str(tmp_path / "twice.yaml"))


def test_hidden_files_are_no_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SWEEPS_FOLDER.mkdir(parents=True)
    (SWEEPS_FOLDER / "._lr.yaml").write_bytes(b"\x00")
    (SWEEPS_FOLDER / "momentum.yaml").touch()
    with pytest.raises(ValueError, match=r"no such sweep in \S+; there are: momentum$"):
        load_sweep("lr")
