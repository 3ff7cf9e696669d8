"""Wrong parameters, each said with its key, its value and the remedy."""

import pytest

from cosmos.config.experiment import experiment_names, load_experiment, load_params
from cosmos.errors import InputError
from cosmos.plan.params_problems import describe_momentum, params_problems

SAMPLES = {"cc3m": 2_822_144, "demo": 2000}


def problems(num_samples: int, num_ranks: int, **sections: dict[str, object]) -> dict[str, str]:
    """Return the problems of the default experiment with these sections, by key."""
    params = load_params(overrides=sections)
    return {problem.key: str(problem) for problem in params_problems(params, num_samples, num_ranks)}


def published(num_ranks: int = 16, **sections: dict[str, object]) -> dict[str, str]:
    """Return the problems of the published run on CC3M with these sections, by key."""
    params = load_params("vitb16-cc3m", sections)
    return {problem.key: str(problem) for problem in params_problems(params, SAMPLES["cc3m"], num_ranks)}


@pytest.mark.parametrize("name", experiment_names())
def test_shipped_experiments_have_no_problem_on_their_ranks(name: str) -> None:
    experiment = load_experiment(name)
    nodes, gpus = (experiment.needs.get(key, 1) for key in ("nodes", "gpus_per_node"))
    num_samples = SAMPLES["demo"] if experiment.params.data.name == "demo" else SAMPLES["cc3m"]
    assert [str(p) for p in params_problems(experiment.params, num_samples, nodes * gpus)] == []


def test_a_batch_that_ranks_cannot_share_is_an_error() -> None:
    assert problems(2000, 3)["pretrain.batch_size"] == (
        "pretrain.batch_size: 32 samples cannot be shared equally by 3 ranks; 33 would do"
    )
    many = problems(2000, 64)["pretrain.batch_size"]
    assert many == (
        "pretrain.batch_size: 32 is less than a sample for each of 64 ranks; "
        "at most 32 ranks would do, or a batch of 64"
    )


def test_a_batch_larger_than_the_dataset_has_an_epoch_of_no_step() -> None:
    assert problems(20, 1)["pretrain.batch_size"] == (
        "pretrain.batch_size: 32 is more than the 20 samples of demo: no epoch has a step; "
        "set it to 20 or less, or prepare more data"
    )


def test_samples_that_an_epoch_leaves_out_are_counted() -> None:
    few = problems(50, 1, pretrain={"warmup_steps": 1, "log_every_steps": 1})
    assert few["pretrain.batch_size"] == (
        "pretrain.batch_size: 32 leaves out 18 of 50 samples in each epoch; 25 would leave out none"
    )


def test_schedules_that_are_longer_than_the_run_are_a_warning() -> None:
    said = problems(50, 1, pretrain={"evaluate_every_epochs": 4, "log_every_steps": 4})
    assert said["pretrain.warmup_steps"] == (
        "pretrain.warmup_steps: 20 steps, and the run has 3 steps: the learning rate ends at 15.0% of "
        "pretrain.learning_rate, and never falls; lower it, or train longer"
    )
    assert said["pretrain.evaluate_every_epochs"].startswith(
        "pretrain.evaluate_every_epochs: 4 is more than the 3 epochs of the run"
    )
    assert "there is no curve" in said["pretrain.log_every_steps"]


def test_momentum_and_rate_of_another_batch_size_are_far_off() -> None:
    said = published(pretrain={"batch_size": 256})
    assert said["pretrain.momentum"] == (
        "pretrain.momentum: 0.999 was chosen for batches of 1,024; "
        "batches of 256 take 0.99975 by the rule of arXiv 2307.13813"
    )
    assert "pretrain.learning_rate" not in said
    rate = published(num_ranks=1, pretrain={"batch_size": 128})["pretrain.learning_rate"]
    assert rate.endswith("batches of 128 take 0.00018 by the rule of the square root (arXiv 2205.10287)")
    assert "pretrain.momentum" not in published(pretrain={"batch_size": 256, "momentum": 0.9997})


def test_a_teacher_that_keeps_its_first_weights_is_said() -> None:
    said = problems(500, 1, pretrain={"momentum": 0.999})["pretrain.momentum"]
    assert said.startswith(
        "pretrain.momentum: 0.999 leaves the teacher 95.6% of its random first weights after 45 steps"
    )
    assert "pretrain.momentum" not in problems(
        500, 1, pretrain={"momentum": 0.999}, loss={"distillation": "none"}
    )
    assert "pretrain.momentum" not in problems(
        500, 1, pretrain={"momentum": 1.0, "momentum_schedule": "cosine"}
    )


def test_the_bias_of_siglip_belongs_to_a_batch() -> None:
    said = published(loss={"contrastive": "siglip", "distillation": "none"})
    assert said["loss.siglip_bias"].startswith("loss.siglip_bias: -10 is far from -ln(batch size) = -6.9")
    assert said["loss.siglip_bias"].endswith("; set it to -6.9")


def test_fp16_without_steps_that_may_be_skipped_is_said() -> None:
    assert (
        "--pretrain.max_nonfinite_steps 10"
        in problems(2000, 1, pretrain={"precision": "fp16"})["pretrain.precision"]
    )
    assert not problems(2000, 1, pretrain={"precision": "fp16", "max_nonfinite_steps": 10})


def test_crops_are_whole_numbers_of_patches_of_named_architectures() -> None:
    said = published(views={"local_size": 100})
    assert (
        said["views.local_size"]
        == "views.local_size: 100 is not a multiple of the patches' 16 pixels; 96 would do"
    )
    assert "views.local_size" not in published(views={"local_size": 100, "num_local_crops": 0})
    with pytest.raises(InputError, match=r"model\.architecture: open_clip has no 'ViT-Z-99'"):
        published(model={"architecture": "ViT-Z-99"})


def test_a_momentum_is_shown_by_its_distance_to_1() -> None:
    assert [describe_momentum(value) for value in (0.9, 0.99, 0.99975, 1.0)] == [
        "0.90",
        "0.990",
        "0.99975",
        "1.0",
    ]
