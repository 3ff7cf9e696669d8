import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest

from cosmos.config.evaluate_params import SuiteName
from cosmos.config.experiment import load_experiment, load_params
from cosmos.config.job_request import JobRequest
from cosmos.config.machine import Machine
from cosmos.config.params import DataParams, DemoParams, Params
from cosmos.data.preparation import prepare_dataset
from cosmos.evaluation.suite import suites
from cosmos.report.published import PUBLISHED_CHECKPOINTS
from cosmos.stages.experiments import (
    ExperimentListing,
    ExperimentPlan,
    list_experiments,
    refuse_invalid_experiments,
)

ROOT = Path(__file__).parent.parent.parent
CC3M, LARGE = (16, 64, 0.999), (128, 32, 0.99)
"""GPUs, samples of a step on each, and momentum, as published."""

PUBLISHED_RUNS = [
    (architecture, data, scale)
    for architecture in ("ViT-B-16", "ViT-B-32")
    for data, scale in (
        ("cc3m", CC3M),
        ("cc12m", LARGE),
        ("yfcc15m", LARGE),
        ("merged30m", LARGE),
        ("pixelprose", LARGE),
    )
]

OF_CC3M = (
    "clip",
    "siglip",
    "image-only",
    "text-only",
    "no-cross-attention",
    "no-local-crops",
    "no-text-crops",
)
"""Baselines and ablations, of the demo world and of CC3M."""


@pytest.fixture(autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped experiments, away from a developer's own machine.yaml."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("params.yaml", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    monkeypatch.chdir(folder)


def planned(name: str, **slurm: int) -> ExperimentPlan:
    (item,) = list_experiments([name], Machine(slurm=JobRequest.model_validate(slurm)), quiet=True)
    assert item.plan, item.problem
    return item.plan


def write(folder: Path, name: str, text: str) -> None:
    (folder / "experiments").mkdir(exist_ok=True)
    (folder / "experiments" / f"{name}.yaml").write_text(text)


def everything_but(params: Params, *sections: str) -> dict[str, object]:
    return params.model_dump(exclude=set(sections))


def test_every_shipped_experiment_says_what_it_is_what_it_costs_and_what_to_expect() -> None:
    listed = list_experiments([], Machine(), quiet=True)
    assert [item.name for item in listed] == sorted(p.stem for p in (ROOT / "experiments").glob("*.yaml"))
    for item in listed:
        assert item.plan, item.problem
        assert item.plan.about
        assert item.plan.cost
        assert bool(item.plan.expected) != bool(item.plan.published), item.name
        assert not item.plan.warning
    refuse_invalid_experiments(listed)


def test_every_shipped_experiment_measures_datasets_that_there_are() -> None:
    for item in list_experiments([], Machine(), quiet=True):
        assert any(suite.requested() for suite in suites(load_params(item.name).evaluate).values())


@pytest.mark.parametrize(("architecture", "data", "scale"), PUBLISHED_RUNS)
def test_the_published_runs_are_as_published(
    architecture: str, data: str, scale: tuple[int, int, float]
) -> None:
    gpus, share, momentum = scale
    name = f"{architecture.replace('-', '').lower()}-{data}"
    plan, params = planned(name), load_params(name)
    assert plan.request["nodes"] * plan.request["gpus_per_node"] == gpus
    assert (plan.model, plan.data, plan.batch_per_gpu, plan.momentum) == (architecture, data, share, momentum)
    assert plan.batch_size == gpus * share
    assert plan.cost.startswith(f"{gpus} A100 (40 GB), {share} samples on each")
    assert params.evaluate.published == f"cosmos_{name.replace('-', '_')}"
    figures = {
        dataset: plan.published["retrieval"][dataset] for dataset in params.evaluate.retrieval.datasets
    }
    assert list(figures) == ["coco-val2017", "flickr30k-test"]
    assert plan.published["classification"]["imagenet"]["top1"] > 0.3
    assert len(plan.published.get("segmentation", {})) == (6 if name == "vitb16-merged30m" else 0)


def test_there_is_an_experiment_for_each_published_checkpoint() -> None:
    runs = {f"cosmos_{a.replace('-', '').lower()}_{data}" for a, data, _ in PUBLISHED_RUNS}
    assert runs == set(PUBLISHED_CHECKPOINTS)


@pytest.mark.parametrize("name", ["vitb16-cc3m", "vitb32-merged30m"])
def test_views_objective_and_schedule_are_the_published_ones(name: str) -> None:
    params = load_params(name)
    views, schedule = params.views, params.pretrain
    assert (views.image_size, views.local_size, views.num_local_crops, views.crop_scale) == (224, 96, 6, 0.4)
    assert (views.num_captions, views.caption_mode, views.max_sentences) == (8, "textcrop", 5)
    assert params.loss == Params().loss
    assert (schedule.epochs, schedule.learning_rate, schedule.warmup_steps) == (32, 5e-4, 2000)
    assert (schedule.beta1, schedule.beta2, schedule.epsilon, schedule.weight_decay) == (0.9, 0.98, 1e-8, 0.5)
    assert (schedule.momentum_schedule, schedule.teacher_update) == ("fixed", "before")
    assert schedule.precision == "bf16"


@pytest.mark.parametrize(("name", "pairs"), [("vitb16-cc3m", 2_823_019), ("vitb32-merged30m", 26_899_071)])
def test_the_steps_that_a_run_costs_are_whole_batches_of_its_pairs(name: str, pairs: int) -> None:
    plan = planned(name)
    assert plan.cost.endswith(f"; {pairs // plan.batch_size * plan.epochs:,} steps")


@pytest.mark.parametrize("name", OF_CC3M)
def test_an_ablation_of_cc3m_is_its_published_run_but_for_what_the_small_one_changes(name: str) -> None:
    ablation, whole = load_experiment(f"vitb16-cc3m-{name}"), load_experiment("vitb16-cc3m")
    small, default = load_params(name), Params()
    for section in ("loss", "views"):
        ours, theirs = getattr(ablation.params, section), getattr(whole.params, section)
        change = {
            key: value
            for key, value in getattr(small, section)
            if value != getattr(getattr(default, section), key)
        }
        if "siglip_bias" in change:
            change["siglip_bias"] = -6.9  # of the larger batch
        assert ours == theirs.model_copy(update=change)
    assert everything_but(ablation.params, "loss", "views", "evaluate") == everything_but(
        whole.params, "loss", "views", "evaluate"
    )
    assert ablation.needs == whole.needs
    assert ablation.params != whole.params
    assert planned(f"vitb16-cc3m-{name}").published == {}
    assert "compare with vitb16-cc3m" in ablation.expected


@pytest.mark.slow
def test_merged_30m_is_the_three_prepared_training_sets_where_they_are(tmp_path: Path) -> None:
    machine = Machine(data_root=tmp_path, source_root=tmp_path)
    for seed, name in enumerate(("cc3m", "cc12m", "yfcc15m")):
        demo = DemoParams(num_train=3 + seed, num_heldout=1, image_size=32)
        prepare_dataset(
            DataParams(name=name, demo=demo, seed=seed, samples_per_shard=2), machine, processes=1
        )
    manifest = prepare_dataset(load_params("vitb16-merged30m").data, machine, processes=1)["train"]
    assert (manifest.schema, manifest.num_samples) == ("dreamlip", 3 + 4 + 5)
    assert [Path(shard.path).parent.parent.name for shard in manifest.shards] == [
        *["cc3m"] * 2,
        *["cc12m"] * 2,
        *["yfcc15m"] * 3,
    ]


def test_what_the_machine_asks_for_wins_over_what_an_experiment_needs() -> None:
    plan = planned("vitb16-cc3m", nodes=2, gpus_per_node=8)
    assert (plan.request["nodes"], plan.request["gpus_per_node"]) == (2, 8)
    assert (plan.batch_per_gpu, plan.request["cpus_per_task"]) == (64, 8)


def test_a_batch_that_gpus_cannot_share_equally_is_told() -> None:
    plan = planned("vitb16-cc3m", nodes=3)
    assert plan.batch_per_gpu == 0
    assert "cannot be shared equally by 12 ranks" in plan.warning


def test_an_invalid_experiment_is_listed_with_its_problem_beside_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "bad", "slurm: {nodez: 1}")
    write(tmp_path, "good", "about: 'fine [bold]'\nexpected: much")
    write(tmp_path, "unknown", "evaluate: {published: cosmos_vitb16_cc4m}")
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    listed = list_experiments([], Machine())
    assert [(item.name, bool(item.plan)) for item in listed] == [
        ("bad", False),
        ("good", True),
        ("unknown", False),
    ]
    printed = capsys.readouterr().out
    assert "fine [bold]" in printed
    assert "slurm.nodez" in printed
    with pytest.raises(ValueError, match=r"(?s)bad\.yaml:\n  slurm\.nodez: no such key.*cosmos_vitb16_cc4m"):
        refuse_invalid_experiments(listed)


def test_a_name_that_there_is_none_of_and_a_folder_without_any_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = list_experiments(["none"], Machine(), quiet=True)
    assert "experiments/none.yaml: no such file" in item.problem
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="experiments: holds no experiments; run from the root"):
        list_experiments([], Machine())


def test_a_named_experiment_is_shown_with_commands_and_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    list_experiments(["vitb16-merged30m", "experiments/clip.yaml", "none"], Machine())
    printed = " ".join(capsys.readouterr().out.split())
    assert "cosmos pretrain --experiment vitb16-merged30m --run vitb16-merged30m" in printed
    assert "cosmos pretrain --experiment experiments/clip.yaml --run clip" in printed
    assert "nodes: 32, gpus per node: 4, gpu kind: a100-40gb, cpus per task: 8, minutes: 1440" in printed
    assert "segmentation voc20 csa_mIoU 77.7" in printed
    assert "classification imagenet top1 57.6" in printed
    assert "problem experiments/none.yaml: no such file" in printed


def test_a_listing_serialises_as_json() -> None:
    listed: list[ExperimentListing] = list_experiments(["vitb16-cc3m", "none"], Machine(), quiet=True)
    valid, missing = json.loads(json.dumps([asdict(item) for item in listed]))
    assert set(valid["plan"]["published"]) <= set(get_args(SuiteName))
    assert valid["plan"]["request"]["nodes"] == 4
    assert missing["plan"] is None


def test_listing_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from cosmos.config.machine import Machine; "
        "from cosmos.stages.experiments import list_experiments; "
        "list_experiments([], Machine(), quiet=True); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
