"""Figures that a GPU, a disk or a time limit does not have, each said with its key and the remedy."""

import re
from dataclasses import replace

from cosmos.plan.forecast_problems import host_bytes
from cosmos.plan.run_place import RunPlace
from cosmos.plan.workload import Span
from tests.plan.forecasts import published_forecast, told


def test_the_published_run_fits_the_gpus_that_it_ran_on() -> None:
    assert told(published_forecast()) == {}


def test_a_step_that_does_not_fit_names_what_would_and_its_cost() -> None:
    large = published_forecast(request={"nodes": 1})
    said = told(large)["pretrain.batch_size"]
    assert said.startswith("error: pretrain.batch_size: 1024 with 256 samples on a rank needs ")
    assert re.search(
        r"GB, and a100-40gb has 40\.0; slurm.nodes: 4 \(1\.00 of the GPU-hours, .* or COSMOS_", said
    )
    assert re.search(r"\(\d\.\d\d of the GPU-hours, \d+\.\d GB\)", said)
    stated_by_the_experiment_alone = replace(large, is_kind_certain=False)
    assert told(stated_by_the_experiment_alone)["pretrain.batch_size"].startswith("warning: ")


def test_a_run_that_its_time_limits_end_is_said() -> None:
    requeued = published_forecast(request={"minutes": 60, "max_requeues": 2})
    assert re.match(
        r"warning: slurm.max_requeues: 2 of 60 min each end before the run, which takes .*; \d+ would do",
        told(requeued)["slurm.max_requeues"],
    )
    alone = published_forecast(request={"minutes": 5, "max_requeues": 0})
    assert told(alone)["slurm.minutes"].startswith("error: slurm.minutes: 5 minutes are less than an epoch (")
    assert "slurm.max_requeues is 0; raise slurm.max_requeues: the run takes" in told(alone)["slurm.minutes"]
    of_epochs = published_forecast(request={"minutes": 120, "max_requeues": 0})
    assert told(of_epochs)["slurm.max_requeues"].startswith("warning: slurm.max_requeues: 0 of ")


def test_a_step_longer_than_the_warning_before_the_limit_is_an_error() -> None:
    slow = published_forecast(request={"warning_seconds": 1, "nodes": 1, "gpus_per_node": 1})
    said = told(slow)["slurm.warning_seconds"]
    assert re.match(
        r"error: slurm.warning_seconds: 1 s, and a step takes .*: a job cannot save before its time limit",
        said,
    )


def test_workers_that_do_not_keep_up_are_said_with_those_that_would() -> None:
    said = told(published_forecast({"workers": 1}, {"gpu_kind": "h100"}))["COSMOS_WORKERS"]
    assert re.match(
        r"warning: COSMOS_WORKERS: 1 (will|may) not keep up: .* s, and the step .* s; \d+ would", said
    )
    few_cores = told(published_forecast({"workers": 1}, {"gpu_kind": "h100", "cpus_per_task": 2}))[
        "COSMOS_WORKERS"
    ]
    assert "with slurm.cpus_per_task" in few_cores


def test_a_disk_too_small_for_the_checkpoints_is_an_error() -> None:
    full = told(published_forecast(place=RunPlace(run_disk=5_000_000_000)))["COSMOS_RUNS_ROOT"]
    assert re.match(
        r"error: COSMOS_RUNS_ROOT: /shared/runs has 5.0 GB free, and 3 checkpoints of 2\.\d GB need 7\.\d",
        full,
    )
    assert full.endswith("or lower COSMOS_KEEP_CHECKPOINTS")
    assert not told(published_forecast(place=RunPlace(run_disk=10_000_000_000)))


def test_data_that_is_not_prepared_and_its_disk_are_said() -> None:
    place = RunPlace(is_prepared=False, data_disk=1_000_000_000)
    said = told(published_forecast(place=place))
    assert said["data.name"] == (
        "warning: data.name: cc3m is not prepared on this machine; `cosmos prepare` makes it"
    )
    assert said["COSMOS_DATA_ROOT"].startswith(
        "warning: COSMOS_DATA_ROOT: /shared/data has 1 GB free, and cc3m takes some 93 GB"
    )


def test_copies_of_remote_shards_are_as_many_as_are_mixed_and_fit_their_disk() -> None:
    place = RunPlace(remote_shard_bytes=10**9, cache_disk=5 * 10**9)
    said = told(published_forecast({"cached_shards": 8}, place=place))
    assert said["COSMOS_CACHED_SHARDS"].startswith(
        "warning: COSMOS_CACHED_SHARDS: 8 copies are less than the 16 shards whose samples are mixed"
    )
    assert "has 5.0 GB free, and 8 copies of shards need 8.0" in said["COSMOS_CACHE_ROOT"]


def test_evaluations_longer_than_training_between_them_are_said() -> None:
    place = RunPlace(evaluated_images=40_000_000)
    said = told(published_forecast(place=place, pretrain={"evaluate_every_epochs": 1}))
    assert said["pretrain.evaluate_every_epochs"].startswith(
        "warning: pretrain.evaluate_every_epochs: 1 epochs have 2,822,144 samples, and an evaluation 80"
    )


def test_more_micro_batches_than_samples_are_said() -> None:
    assert told(published_forecast({"micro_batches": 100}))["COSMOS_MICRO_BATCHES"] == (
        "warning: COSMOS_MICRO_BATCHES: 100 are more than the 64 samples of a step on a rank; set 64 or less"
    )


def test_checkpoints_further_apart_than_the_limit_are_said() -> None:
    said = told(published_forecast({"checkpoint_every_minutes": 3000}))
    assert said["COSMOS_CHECKPOINT_EVERY_MINUTES"].endswith("set it to 240 or less")


def test_memory_of_a_node_too_small_for_workers_is_said() -> None:
    forecast = published_forecast({"workers": 14}, {"memory_gb": 16})
    assert told(forecast)["slurm.memory_gb"].startswith(
        "warning: slurm.memory_gb: 16 GiB of a node are less than the "
    )
    few = replace(forecast.workload, workers=2)
    assert host_bytes(few, forecast.plan) < host_bytes(forecast.workload, forecast.plan)


def test_captions_that_the_text_tower_cuts_are_said() -> None:
    forecast = published_forecast()
    data = replace(
        forecast.workload.data, caption_lengths=((77, 77, 20),), captions_from="captions of 1 sample"
    )
    said = told(replace(forecast, workload=replace(forecast.workload, data=data)))
    assert said["views.max_sentences"].startswith(
        "warning: views.max_sentences: 5 sentences make captions of which 66.7% are cut"
    )


def test_a_plan_without_a_known_speed_has_no_problem_of_time() -> None:
    forecast = published_forecast(request={"minutes": 1, "max_requeues": 0})
    unknown = replace(forecast, plan=replace(forecast.plan, time=None))
    assert "slurm.max_requeues" not in told(unknown)
    assert Span(1, 2).times(2) == Span(2, 4)
