from dataclasses import replace

import pytest
import torch

from cosmos.config.gpus import gpu_of_name
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.image_decoding import decode_image
from cosmos.errors import InputError, OutOfMemoryError
from cosmos.plan import calibration
from cosmos.plan.calibration import calibrate, measure_steps, random_batch, synthetic_photograph, take_steps
from cosmos.plan.compute import sample_flops
from cosmos.plan.pace import arithmetic_seconds
from cosmos.plan.workload import DatasetFacts, Workload
from cosmos.training.step import Learner
from tests.training.examples import params


def with_vocabulary(params: Params, size: int) -> Params:
    """Parameters of a model that knows all of CLIP's tokens."""
    text = params.model.inline.text.model_copy(update={"vocab_size": size})
    inline = params.model.inline.model_copy(update={"text": text})
    return params.model_copy(update={"model": params.model.model_copy(update={"inline": inline})})


DATA = DatasetFacts(100, "", 1000.0, "", ((9, 12, 5, 4), (7, 8, 3, 6)), "")
WORKLOAD = Workload(with_vocabulary(params(), 49408), DATA)


def test_steps_and_views_on_this_machine_say_how_fast_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # no data is prepared there
    measured = calibrate(WORKLOAD, Machine(device="cpu"))
    assert 0 < measured.flops_per_second.low <= measured.flops_per_second.high
    assert 0 < measured.view_seconds.low <= measured.view_seconds.high < 1
    assert measured.update_seconds > 0
    assert measured.source.startswith("3 steps of 8 samples here (cpu, ")
    assert measured.source.endswith("and views of synthetic photographs on a core")
    planned = arithmetic_seconds(replace(WORKLOAD, measured=measured), sample_flops(WORKLOAD))
    assert planned
    assert measured.update_seconds < planned.low <= planned.high


def test_a_batch_that_takes_long_or_too_much_memory_is_measured_in_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, cpu = Machine(), torch.device("cpu")
    assert measure_steps(replace(WORKLOAD, micro_batches=2), machine, cpu)[0] == 4
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "STEP_SECONDS", 0)
        assert measure_steps(WORKLOAD, machine, cpu)[0] == 2
    step = Learner.step

    def fits_two(learner: Learner, batch: object, **options: float) -> object:
        if len(batch) > 2:  # type: ignore[arg-type]
            raise OutOfMemoryError("full")
        return step(learner, batch, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Learner, "step", fits_two)
    assert measure_steps(WORKLOAD, machine, cpu)[0] == 2


def test_a_measured_step_changes_no_weight() -> None:
    learner = calibration.make_learner(WORKLOAD, Machine(), torch.device("cpu"))
    before = [parameter.clone() for parameter in learner.student.parameters()]
    steps = take_steps(learner, random_batch(WORKLOAD, 3), 2)
    assert all(map(torch.equal, before, learner.student.parameters()))
    assert [step["forward"] > 0 and step["update"] > 0 for step in steps] == [True, True]


def test_random_captions_have_the_lengths_of_the_data() -> None:
    batch = random_batch(WORKLOAD, 3)
    assert batch.lengths.tolist() == [[9, 12, 5, 4], [7, 8, 3, 6], [9, 12, 5, 4]]
    assert (batch.tokens != 0).sum(-1).tolist() == batch.lengths.tolist()


def test_a_plan_of_another_device_is_not_calibrated_here() -> None:
    planned = replace(WORKLOAD, gpu=gpu_of_name("NVIDIA A100-SXM4-80GB"))
    with pytest.raises(
        InputError, match="--calibrate: it measures the CPU of this machine, and the plan is of a100"
    ):
        calibrate(planned, Machine(device="cpu"))


def test_a_synthetic_photograph_is_as_large_as_others() -> None:
    sample = synthetic_photograph(0)
    assert decode_image(sample.image, 10**6).size == (500, 375)
    assert 40_000 < len(sample.image) < 200_000
