"""Plans of shipped experiments, by figures that are published or computed by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.config.experiment import experiment_names
from cosmos.config.gpus import GPUS, gpu_of_kind
from cosmos.config.params import PretrainParams
from cosmos.config.site import SiteSettings
from cosmos.plan.loading import plan_loading
from cosmos.plan.run_plan import NOT_PUBLISHED, RunTime, StepCounts, estimate_device_seconds, plan_run
from cosmos.plan.workload import MeasuredSpeed, Span, Workload
from tests.plan.examples import ROOT, shipped

PUBLISHED_RUNS = [
    f"vitb{patch}-{data}"
    for patch in (16, 32)
    for data in ("cc3m", "cc12m", "yfcc15m", "merged30m", "pixelprose")
]


def time_of(workload: Workload) -> RunTime:
    time = plan_run(workload).time
    assert time
    return time


def test_the_steps_of_the_published_run_on_cc3m_are_88_192() -> None:
    steps = plan_run(shipped("vitb16-cc3m")).steps
    assert steps == StepCounts(per_epoch=2756, total=88_192, samples_seen=88_192 * 1024, left_out=875)


def test_the_steps_of_the_published_run_on_merged30m_are_210_144() -> None:
    assert plan_run(shipped("vitb32-merged30m")).steps.total == 210_144


def test_data_with_fewer_samples_than_a_batch_has_no_steps() -> None:
    assert StepCounts.of(31, PretrainParams(batch_size=32)) == StepCounts(0, 0, 0, 31)


def test_the_time_of_a_run_is_its_operations_over_a_share_of_the_peak() -> None:
    workload = shipped("vitb16-cc3m")
    plan, time = plan_run(workload), time_of(workload)
    assert plan.total_flops == plan.flops.logged * 88_192 * 1024
    assert 3.9e19 < plan.total_flops < 4.1e19
    at_most = 64 * plan.flops.computed / (0.12 * 312e12)
    assert time.step.arithmetic == Span(64 * plan.flops.computed / (0.40 * 312e12), at_most)
    assert time.hours.high >= 88_192 * at_most / 3600
    assert time.device_hours == time.hours.times(16)
    assert time.samples_per_second.high == pytest.approx(1024 / time.step.seconds.low)


@pytest.mark.parametrize("name", PUBLISHED_RUNS)
def test_a_published_run_is_compared_with_its_resources(name: str) -> None:
    rows = {row.name: row for row in plan_run(shipped(name)).comparison}
    assert len(rows) == 6
    for row in (rows[name] for name in rows if name != "hours"):
        assert row.published == row.planned, row
    assert rows["hours"].published == NOT_PUBLISHED
    assert rows["kind of GPU"].published == "a100-40gb"


def test_every_shipped_experiment_on_any_kind_of_gpu_has_a_plan() -> None:
    names = [name for name in experiment_names(ROOT / "experiments") if name.startswith("vitb")]
    assert len(names) == 17
    for name, kind in zip(names * 3, GPUS, strict=False):
        plan = plan_run(shipped(name, gpu=kind))
        has_peak = gpu_of_kind(kind).has_bf16
        assert (plan.time is None, plan.energy is None) == (not has_peak, not has_peak)


def test_an_ablation_repeats_no_published_run() -> None:
    assert plan_run(shipped("vitb16-cc3m-clip")).comparison == ()


def test_a_device_of_unknown_speed_has_neither_time_nor_energy() -> None:
    plan = plan_run(replace(shipped("vitb16-cc3m"), gpu=None))
    assert (plan.time, plan.energy) == (None, None)
    assert estimate_device_seconds(replace(shipped("vitb16-cc3m"), gpu=None)) is None


def test_a_measured_speed_takes_the_place_of_assumptions() -> None:
    speed = MeasuredSpeed(Span.of(100e9), Span.of(4e-3), "three steps", update_seconds=0.5)
    workload = replace(shipped("vitb32-cc3m", nodes=1), gpu=None, measured=speed, workers=4)
    plan = plan_run(workload)
    assert plan.time
    seconds = 256 * plan.flops.computed / 100e9 + 0.5
    assert plan.time.step.seconds.low == pytest.approx(seconds, rel=1e-3)
    assert plan.time.step.seconds.high == pytest.approx(seconds, rel=1e-3)
    assert (plan.time.step.utilisation, plan.time.step.source) == (None, "three steps")
    assert plan.loading.step_seconds.low == pytest.approx(256 * 4e-3 / 4)
    device_seconds = estimate_device_seconds(workload)
    assert device_seconds
    assert device_seconds.low == pytest.approx(4 * 88_192 * seconds, rel=1e-3)


@given(nodes=st.integers(1, 64), more=st.integers(1, 64), kind=st.sampled_from(sorted(GPUS)))
def test_more_gpus_never_take_a_rank_longer(nodes: int, more: int, kind: str) -> None:
    few, many = (plan_run(shipped("vitb16-cc12m", nodes=n, gpu=kind)).time for n in (nodes, nodes + more))
    if few and many:
        assert many.step.arithmetic.high <= few.step.arithmetic.high
        assert many.step.loading.high <= few.step.loading.high


@given(batches=st.integers(2, 32), workers=st.integers(0, 16))
def test_what_saves_memory_takes_time_and_workers_save_it(batches: int, workers: int) -> None:
    workload = replace(shipped("vitb16-cc3m"), workers=workers)
    plain = time_of(workload)
    in_parts = time_of(replace(workload, micro_batches=batches))
    again = time_of(replace(workload, activation_checkpointing="all"))
    assert plain.step.arithmetic.low < in_parts.step.arithmetic.low < 1.5 * plain.step.arithmetic.low
    assert plain.step.arithmetic.low < again.step.arithmetic.low < 1.5 * plain.step.arithmetic.low
    assert time_of(replace(workload, workers=workers + 1)).step.loading.high <= plain.step.loading.high
    for time in (plain, in_parts, again):
        assert time.hours.low <= time.hours.high


def test_loading_that_may_be_slower_than_the_gpus_does_not_keep_up() -> None:
    slow = time_of(replace(shipped("vitb32-cc3m", gpu="h100"), workers=1))
    fast = time_of(replace(shipped("vitb32-cc3m", gpu="h100"), workers=16, cores_per_rank=16))
    assert (slow.keeps_up, fast.keeps_up) == (False, True)
    assert (slow.step.limited_by, fast.step.limited_by) == ("loading", "arithmetic")
    assert slow.cores_needed.high > 1
    assert slow.bytes_per_second.high == pytest.approx(33_000 * slow.samples_per_second.high)


def test_on_a_cpu_loading_takes_cores_from_the_step_and_without_workers_its_time() -> None:
    speed = MeasuredSpeed(Span.of(1e12), Span.of(10e-3), "three steps")
    workload = replace(shipped("vitb32-cc3m"), gpu=None, measured=speed)
    beside, alone = time_of(workload).step, time_of(replace(workload, workers=0)).step
    together = beside.arithmetic.plus(beside.exchange).plus(beside.loading)
    assert beside.seconds.low < beside.seconds.high == together.high
    assert alone.seconds == alone.arithmetic.plus(alone.exchange).plus(alone.loading)


def test_ranks_of_several_nodes_wait_for_their_exchanges() -> None:
    there, away = time_of(shipped("vitb32-cc12m", nodes=1)).step, time_of(shipped("vitb32-cc12m")).step
    assert there.exchange.high < away.exchange.high
    assert away.seconds.high == pytest.approx(away.arithmetic.high + away.exchange.high)


def test_a_workload_that_does_not_fit_has_remedies_and_one_that_fits_none() -> None:
    fits, large = shipped("vitb16-cc3m"), shipped("vitb16-cc3m", nodes=1)
    assert plan_run(fits).remedies == ()
    plan = plan_run(
        replace(
            large,
            params=large.params.model_copy(
                update={"pretrain": large.params.pretrain.model_copy(update={"batch_size": 8192})}
            ),
        )
    )
    assert large.gpu
    assert not plan.memory.fits(large.gpu)
    assert all(remedy.memory.fits(large.gpu) for remedy in plan.remedies)
    assert any(not remedy.changes_result for remedy in plan.remedies)


def test_views_take_a_core_as_long_as_docs_speed_says() -> None:
    on_device = plan_loading(shipped("vitb16-cc3m")).view_seconds
    in_worker = plan_loading(replace(shipped("vitb16-cc3m"), augments_on_device=False)).view_seconds
    assert 2.2e-3 < on_device.low < on_device.high < 3.3e-3
    assert 3.7e-3 < in_worker.low < in_worker.high < 5.2e-3


def test_energy_is_that_of_gpus_and_hosts_and_costs_what_the_site_says() -> None:
    workload = shipped("vitb16-cc3m")
    hours, energy = time_of(workload).device_hours, plan_run(workload).energy
    assert energy
    assert energy.kwh.high == pytest.approx(hours.high * 0.8 * (400 + 400) / 1000)
    assert energy.cost is None
    site = SiteSettings(host_watts=100, pue=1.5, gpu_hour_price=2, kwh_price=0.5, currency="CHF")
    priced = plan_run(replace(workload, site=site)).energy
    assert priced
    assert priced.cost
    assert priced.kwh.low == pytest.approx(hours.low * 0.5 * (400 + 100) * 1.5 / 1000)
    assert priced.cost.low == pytest.approx(2 * hours.low + 0.5 * priced.kwh.low)
    assert priced.currency == "CHF"
