"""State of a training in a checkpoint, beside the weights: checked before a learner takes it over."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cosmos.errors import InputError
from cosmos.model import checkpoints
from cosmos.model.state_dicts import is_plain_tensor
from cosmos.run.records import parse_record
from cosmos.training.progress import Counters, TrainingState
from cosmos.training.step import Learner

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Tensors of AdamW's for each parameter."""


def resume_learner(learner: Learner, checkpoint: checkpoints.Checkpoint) -> TrainingState:
    """Restore weights, optimiser, scaler and random state as they were saved; return the saved progress.

    Raises InputError for a checkpoint of another model than the learner's, and for one without the state of
    a training, such as a published one.
    """
    checkpoints.load_state(learner.student, checkpoint.student, f"{checkpoint.path}: student")
    checkpoints.load_state(learner.teacher, checkpoint.teacher, f"{checkpoint.path}: teacher")
    saved = checkpoint.extra
    try:
        state = read_progress(saved, learner.process.world_size)
        restore_optimizer(learner.optimizer, saved_mapping(saved, "optimizer"))
        restore_scaler(learner.scaler, saved_mapping(saved, "scaler"))
        restore_random_state(saved_mapping(saved, "rng"), learner.process.device)
        if not saved["optimizer"]["state"] and state.step > state.counters.skipped_steps:
            raise ValueError("optimizer: no moments")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{checkpoint.path}: holds no training that this version can continue ({reason}); "
            "name another run with --run, or move the file out of the run"
        ) from error
    return state


def saved_mapping(values: Mapping[str, Any], key: str) -> dict[Any, Any]:
    """Return the values by name below a key. Raises KeyError or ValueError where there are none."""
    value = values[key]
    if not isinstance(value, dict):
        raise ValueError(f"{key}: not values by name")
    return value


def read_progress(saved: Mapping[str, Any], num_ranks: int) -> TrainingState:
    """Return the progress in a checkpoint. Raises KeyError, TypeError or ValueError for other values."""
    step, damaged = (
        saved["step"],
        saved.get("damaged", torch.empty(0, dtype=torch.int64)),
    )  # none in version 1
    if type(step) is not int or step < 0:
        raise ValueError("step: not a number of steps")
    if not is_plain_tensor(damaged) or damaged.dtype != torch.int64 or damaged.ndim != 1:
        raise ValueError("damaged: not a list of samples")
    if not damaged.is_contiguous():  # a million times the same number, as a file may claim
        raise ValueError("damaged: not a list of samples")
    return TrainingState(
        step, read_counters(saved_mapping(saved, "progress"), num_ranks), frozenset(damaged.tolist())
    )


def read_counters(progress: Mapping[str, Any], num_ranks: int) -> Counters:
    """Return the counters that a checkpoint holds; one of version 1 had as many ranks as there are now.

    Raises KeyError, TypeError or ValueError for values that are none.
    """
    if any(type(value) not in (int, float) for value in progress.values()):
        raise ValueError("progress: not of numbers")
    values = {"device_seconds": progress["seconds"] * num_ranks, **progress}
    try:
        return parse_record(json.dumps(values).encode(), Counters)
    except ValueError as error:
        raise ValueError(f"progress: {error}") from None


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Restore the moments that an optimiser had; its settings are those of the parameters.

    Raises KeyError, TypeError or ValueError for a state that is not of the same parameters.
    """
    own = optimizer.state_dict()
    if typed_members(saved["param_groups"]) != typed_members(own["param_groups"]):
        raise ValueError("optimizer: groups of other parameters")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, moments in saved_mapping(saved, "state").items():
        check_moments(index, moments, parameters)
    optimizer.load_state_dict({"state": saved["state"], "param_groups": own["param_groups"]})


def typed_members(groups: list[Mapping[str, Any]]) -> list[list[tuple[type, Any]]]:
    """Return the numbers of the parameters in each group, with their types, which are compared first."""
    return [[(type(number), number) for number in group["params"]] for group in groups]


def check_moments(index: object, moments: Mapping[str, Any], parameters: list[Tensor]) -> None:
    """Raise KeyError, TypeError or ValueError for moments that are not those of the parameter `index`."""
    if type(index) is not int or not 0 <= index < len(parameters):
        raise ValueError("optimizer: moments of other parameters")
    shapes = {"step": torch.Size(), **dict.fromkeys(MOMENTS, parameters[index].shape)}
    tensors = {name: saved_mapping({"moments": moments}, "moments")[name] for name in shapes}
    if not all(is_plain_tensor(tensor) and tensor.is_floating_point() for tensor in tensors.values()):
        raise ValueError(f"optimizer: moments of parameter {index} that are no numbers")
    if any(tensors[name].shape != shape for name, shape in shapes.items()):
        raise ValueError(f"optimizer: moments of parameter {index} in another shape")


def restore_scaler(scaler: torch.amp.GradScaler, saved: Mapping[str, Any]) -> None:
    """Restore the scale of gradients. Raises TypeError or ValueError for a state of another precision."""
    if saved.keys() != scaler.state_dict().keys():
        raise ValueError("scaler: of another pretrain.precision")
    if not all(type(value) in (int, float) for value in saved.values()):
        raise ValueError("scaler: not of numbers")
    scaler.load_state_dict(dict(saved))


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the state of torch's generators on the CPU and on `device`; views draw from others."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Restore the states that `random_state` returned, as far as this device has the generator.

    Raises KeyError, TypeError or ValueError for values that are no states of generators.
    """
    names = ["cpu", "cuda"] if device.type == "cuda" and "cuda" in state else ["cpu"]
    if not all(is_plain_tensor(state[name]) and state[name].dtype == torch.uint8 for name in names):
        raise ValueError("rng: not the states of generators")
    try:
        torch.set_rng_state(state["cpu"])
        if "cuda" in names:
            torch.cuda.set_rng_state(state["cuda"], device)
    except RuntimeError as error:
        raise ValueError(f"rng: {error}") from None
