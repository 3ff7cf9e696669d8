"""The pretrain stage: trains a run, from the start or its newest checkpoint, to its last step."""

import logging
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.loader import make_loader
from cosmos.data.shards.samples import ShardedSamples
from cosmos.distributed.device_memory import explaining_full_gpus
from cosmos.distributed.exchange import on_each_rank, on_first_rank, on_ranks_alike
from cosmos.distributed.group import ProcessRank, barrier
from cosmos.model.checkpoints import ModelConfig
from cosmos.plan.params_problems import params_problems
from cosmos.run import provenance
from cosmos.run.dataset_version import DatasetVersion
from cosmos.stages.evaluate_beside import evaluation_beside
from cosmos.stages.logs import logging_to_run, print_on_first_rank
from cosmos.stages.pretrain_data import confirm_data, open_data
from cosmos.stages.ranks import joined_ranks
from cosmos.stages.run_opening import open_submitted_run, telling_of_replaced_data
from cosmos.stages.training_evaluation import TrainingEvaluation
from cosmos.training.opening import open_training
from cosmos.training.step import Learner
from cosmos.training.step_plan import StepPlan, describe_plan
from cosmos.training.trainer import Trainer

logger = logging.getLogger(__name__)


def pretrain(
    params: Params,
    machine: Machine,
    path: Path,
    dataset: DatasetVersion,
    quiet: bool = False,
    until: int = 0,
) -> dict[str, Any]:
    """Train the run at `path` to its end; return its path, that of its last checkpoint, and its steps.

    `dataset`: the data that this was asked for, which must not have changed since. `until`: epochs after
    which it ends for now, saved, as if another session were to go on; 0: all. Its schedules are those of all.

    Raises Interrupted when a signal asked to stop, DivergedError when the loss stays non-finite,
    SupersededError when another process took over the run, TransientError when a disk is full or fails, and
    InputError for data that was replaced meanwhile, and for data or parameters that do not fit.
    """
    folder = machine.dataset(params.data.name, "train")
    with joined_ranks(machine, path) as process:
        samples = on_ranks_alike(lambda: ShardedSamples(folder, machine))
        run = on_first_rank(lambda: open_submitted_run(params, machine, path, dataset))
        with logging_to_run(run, process), telling_of_replaced_data(params, machine, dataset):
            data = open_data(run, samples, params, machine)
            plan = StepPlan.of(data.order.steps_per_epoch, params.pretrain.epochs, until)
            evaluate = on_ranks_alike(lambda: TrainingEvaluation.open(params, machine, process))
            with explaining_full_gpus("student and teacher need", "take a larger GPU, or a smaller model"):
                learner = Learner(ModelConfig.of(params), params.pretrain, machine, process)
            job_of = partial(evaluation_beside, params, machine, run)
            trainer = open_training(run, learner, plan, machine, evaluate, job_of, data.limit)
            rest = "; nothing is left to do" if trainer.is_complete else ""
            print_on_first_rank(
                f"{run.path}: step {trainer.step} of {plan.total_steps}{rest}", process, quiet
            )
            with trainer.lease.beating() if process.is_first else nullcontext():
                if not trainer.is_complete:
                    tell_plan(plan, data.order.num_samples, params, process, quiet)
                    confirm_data(data, process, machine)
                    on_first_rank(lambda: record_training(trainer, dataset, evaluate))
                    left = max(0, plan.last_step - trainer.step)
                    batches = on_each_rank(
                        lambda: make_loader(
                            data,
                            params,
                            machine,
                            process.rank,
                            process.world_size,
                            trainer.step,
                            left,
                            partial(learner.parts.timed, "transfer"),
                        )
                    )
                    with closing(batches):
                        trainer.train(batches)
            barrier()
    checkpoint = run.checkpoint(trainer.step)
    print_on_first_rank(f"checkpoint: {checkpoint}\nmetrics: {run.metrics}", process, quiet)
    return {"run": str(run.path), "checkpoint": str(checkpoint), "steps": trainer.step}


def tell_plan(plan: StepPlan, num_samples: int, params: Params, process: ProcessRank, quiet: bool) -> None:
    """Print the plan of a run before its first step, and log what hardly anybody means of it."""
    print_on_first_rank(describe_plan(plan, num_samples, params.pretrain), process, quiet)
    for problem in params_problems(params, num_samples, process.world_size) if process.is_first else ():
        logger.warning(str(problem))


def record_training(trainer: Trainer, dataset: DatasetVersion, evaluate: TrainingEvaluation) -> None:
    """Record a session of training in the run's provenance; raises as `record_session` and `Lease.check`."""
    hardware, hashes = describe_hardware(trainer.learner.process), evaluate.data_hashes()
    with trainer.lease.writing():
        provenance.record_session(trainer.run.provenance, dataset, hashes, hardware, trainer.step)


def describe_hardware(process: ProcessRank) -> dict[str, Any]:
    """Return device, ranks and threads of a training, for provenance."""
    on_gpu = process.device.type == "cuda"
    return {
        "device": str(process.device),
        **({"gpu": torch.cuda.get_device_name(process.device)} if on_gpu else {}),
        "ranks": process.world_size,
        "threads": torch.get_num_threads(),
    }
