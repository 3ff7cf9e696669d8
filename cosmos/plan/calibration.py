"""Calibration of a plan: a few real steps on this device, and real views on one of its cores."""

import io
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from statistics import median

import numpy as np
import torch
from PIL import Image

from cosmos.config.disk_reading import exists
from cosmos.config.gpus import gpu_of_name
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.config.training_parts import STEP_PARTS, TrainingPart
from cosmos.data.batch import Batch
from cosmos.data.image_decoding import decode_image
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.data.sample import Sample
from cosmos.data.shards.remote import is_remote
from cosmos.data.shards.samples import ShardedSamples
from cosmos.data.text_crops import draw_captions
from cosmos.data.tokenizer import tokenizer_for
from cosmos.data.views.crops import ImageViews
from cosmos.data.views.worker_colours import colour_in_worker
from cosmos.distributed.cores import usable_cores
from cosmos.distributed.device_memory import take_gpu
from cosmos.distributed.group import ProcessRank, pick_device
from cosmos.distributed.threads import computing_threads
from cosmos.errors import CosmosError, InputError, OutOfMemoryError
from cosmos.model.checkpoints import ModelConfig
from cosmos.plan.compute import sample_flops
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.workload import MeasuredSpeed, Span, Workload
from cosmos.training.step import Learner, explaining_memory_errors

NUM_STEPS = 3
"""Steps that are measured, after one that warms up."""

STEP_SECONDS = 4.0
"""Time of a step that is aimed at: a rank's part of a batch, or less of it where that takes longer."""

PROBED_SAMPLES = 2
"""Samples of the steps by which that time is estimated."""

NUM_PHOTOGRAPHS, NUM_ROUNDS = 8, 3
"""Samples whose views are made, and times that they are."""

PHOTOGRAPH_SIZE = 500, 375
"""Width and height of a synthetic photograph, as of the usual data sets."""

SENTENCES = ("a brown dog runs over the wet grass behind a wooden house in the late afternoon",) * 8

StepTimes = dict[TrainingPart, float]


def calibrate(workload: Workload, machine: Machine) -> MeasuredSpeed:
    """Measure the speed of this machine for a workload: arithmetic by real steps, loading by real views.

    Steps are taken on a part of a rank's batch that its memory holds and that takes some seconds. Raises
    InputError where the plan is of another device, and OutOfMemoryError where a single sample does not fit.
    """
    refuse_other_device(workload, machine, pick_device(machine.device))
    seconds, samples_from = measure_views(workload, machine)
    arithmetic = measure_arithmetic(workload, machine)
    return replace(
        arithmetic,
        view_seconds=Span(min(seconds), max(seconds)),
        source=f"{arithmetic.source}, and views of {samples_from} on a core",
    )


def measure_arithmetic(workload: Workload, machine: Machine) -> MeasuredSpeed:
    """Measure the speed of this machine's arithmetic alone, by steps as `calibrate`."""
    device = pick_device(machine.device)
    ranks_here = workload.ranks_per_node if device.type == "cpu" else 1
    with computing_threads(machine.threads or (usable_cores() // ranks_here if ranks_here > 1 else 0)):
        size, steps = measure_steps(workload, machine, device)
        threads = torch.get_num_threads()
    work = [sum(step[part] for part in STEP_PARTS if part != "update") for step in steps]
    operations = size * sample_flops(calibrated_workload(workload, size)).computed
    place = f"{device}, {threads} threads" if device.type == "cpu" else str(device)
    return MeasuredSpeed(
        flops_per_second=Span(operations / max(work), operations / min(work)),
        view_seconds=Span.of(0.0),
        source=f"{NUM_STEPS} steps of {size} samples here ({place})",
        update_seconds=median(step["update"] for step in steps),
    )


def refuse_other_device(workload: Workload, machine: Machine, device: torch.device) -> None:
    """Raise InputError unless a device is of the kind that a workload is planned for."""
    here = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    if workload.gpu is None and not here:
        return
    if workload.gpu is None or gpu_of_name(here, machine.gpus) != workload.gpu:
        planned = workload.gpu.kind if workload.gpu else "a CPU"
        raise InputError(
            f"--calibrate: it measures {here or 'the CPU of this machine'}, and the plan is of {planned}; "
            "give the command there, or leave --calibrate out"
        )


def calibrated_workload(workload: Workload, size: int) -> Workload:
    """Return the workload of a single rank that computes steps of `size` samples at once."""
    pretrain = workload.params.pretrain.model_copy(update={"batch_size": size})
    params = workload.params.model_copy(update={"pretrain": pretrain})
    return replace(workload, params=params, nodes=1, ranks_per_node=1, micro_batches=1)


def measure_steps(workload: Workload, machine: Machine, device: torch.device) -> tuple[int, list[StepTimes]]:
    """Return the samples of a measured step, and the times of NUM_STEPS of them by part.

    Raises OutOfMemoryError where a step on a single sample needs more memory than there is.
    """
    largest = -(-workload.batch_per_rank // workload.micro_batches)
    learner = make_learner(workload, machine, device)
    probed = min(PROBED_SAMPLES, largest)
    seconds = sum(take_steps(learner, random_batch(workload, probed), 1)[0].values())
    size = max(probed, min(largest, int(STEP_SECONDS / seconds * probed)))
    while True:
        try:
            return size, take_steps(learner, random_batch(workload, size), NUM_STEPS)
        except OutOfMemoryError:
            if size == 1:
                raise
            size //= 2


def make_learner(workload: Workload, machine: Machine, device: torch.device) -> Learner:
    """Return the learner of a workload on a device, alone."""
    settings = {"micro_batches": 1, "activation_checkpointing": workload.activation_checkpointing}
    if device.type == "cuda":
        take_gpu(device)
    with explaining_memory_errors():
        return Learner(
            ModelConfig.of(workload.params),
            workload.params.pretrain,
            machine.model_copy(update=settings),
            ProcessRank(0, 1, device),
        )


def take_steps(learner: Learner, batch: Batch, count: int) -> list[StepTimes]:
    """Return the times by part of `count` steps that change no weight, after one that warms up."""
    with explaining_memory_errors():
        for _ in range(1 + count):
            learner.step(batch, learning_rate=0.0, momentum=1.0)
        if learner.process.device.type == "cuda":
            torch.cuda.synchronize(learner.process.device)
    learner.parts.read()
    return [{part: step[part] for part in STEP_PARTS} for step in learner.parts.times.newest_steps()[-count:]]


def random_batch(workload: Workload, size: int) -> Batch:
    """Return a batch of noise, with captions of the lengths of the workload's data."""
    params, lengths = workload.params, np.array([*islice(cycle(workload.data.caption_lengths), size)])
    views, context = params.views, ModelDimensions.of(params).context_length
    tokens = torch.ones(*lengths.shape, context, dtype=torch.long)
    positions = torch.arange(context)
    tokens.masked_fill_(positions >= torch.from_numpy(lengths)[..., None], 0)
    return Batch(
        torch.randn(size, 2, 3, views.image_size, views.image_size),
        torch.randn(size, params.num_local_crops, 3, views.local_size, views.local_size),
        tokens,
        lengths,
        tuple(map(str, range(size))),
    )


def measure_views(workload: Workload, machine: Machine) -> tuple[list[float], str]:
    """Return the seconds of a core for a sample's views, by round, and whose views they are."""
    samples = prepared_samples(workload.params, machine)
    source = f"{len(samples)} samples of the data" if samples else "synthetic photographs"
    samples = samples or [synthetic_photograph(number) for number in range(NUM_PHOTOGRAPHS)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a loader's worker has
    try:
        make_views(samples, workload)  # loads what it needs
        return [seconds_a_sample(samples, workload) for _ in range(NUM_ROUNDS)], source
    finally:
        torch.set_num_threads(threads)


def seconds_a_sample(samples: Sequence[Sample], workload: Workload) -> float:
    """Return the processor's seconds that the views of a sample take."""
    began = time.process_time()
    make_views(samples, workload)
    return (time.process_time() - began) / len(samples)


def make_views(samples: Sequence[Sample], workload: Workload) -> None:
    """Make the views and tokens of samples, as a loader's worker does."""
    params, rng = workload.params, np.random.default_rng(0)
    views = params.views.model_copy(update={"num_local_crops": params.num_local_crops})
    image_views, tokenizer = ImageViews(views), tokenizer_for(params.model)
    for sample in samples:
        crops = image_views.crop(decode_image(sample.image, params.data.max_pixels), rng)
        if not workload.augments_on_device:
            _ = [colour_in_worker(part) for part in crops]
        tokenizer.encode_and_measure(draw_captions(sample.annotation, views, rng))


def prepared_samples(params: Params, machine: Machine) -> list[Sample]:
    """Return samples all over the prepared data; none of data that is elsewhere or cannot be read."""
    folder = machine.dataset(params.data.name, "train")
    if not exists(folder / MANIFEST_FILE):
        return []
    try:
        samples = ShardedSamples(folder, machine)
        if any(is_remote(shard.path) for shard in samples.manifest.shards):
            return []
        stride = max(1, len(samples) // NUM_PHOTOGRAPHS)
        return [samples.read(index) for index in islice(range(0, len(samples), stride), NUM_PHOTOGRAPHS)]
    except (CosmosError, OSError):  # `cosmos prepare` and `pretrain` explain it
        return []


def synthetic_photograph(number: int) -> Sample:
    """Return a JPEG of smooth colours with some noise, which takes as long to decode as a photograph."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(PHOTOGRAPH_SIZE, Image.Resampling.BICUBIC), np.int16)
    noisy = (smooth + rng.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=90)
    return Sample(str(number), file.getvalue(), {"captions": list(SENTENCES)})
