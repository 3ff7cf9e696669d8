"""State dicts: names without the prefixes of wrappers, and whether the weights of one fit a model."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import open_clip
from torch import Tensor, nn, strided

from cosmos.errors import InputError
from cosmos.model.weight_files import join_names

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that come from wrappers of modules: DataParallel and its kin, torch.compile, FSDP, and
activation checkpointing."""


def is_state_dict(value: object) -> bool:
    """Return True for a dict of tensors by name, as `state_dict` of a module returns."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def is_plain_tensor(value: object) -> bool:
    """Return True for a tensor with a number for each of its elements in memory, and no wrapper."""
    return (
        type(value) in (Tensor, nn.Parameter)
        and isinstance(value, Tensor)
        and value.layout == strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def is_computable(tensor: Tensor) -> bool:
    """Return True for floating-point numbers of a type that torch computes with: of 16 bits or more."""
    return tensor.is_floating_point() and tensor.element_size() > 1


def state_dict_keys(content: Mapping[str, Any]) -> list[str]:
    """Return the keys of a checkpoint below which weights of a model lie; states of generators are none."""
    return [
        key
        for key, value in content.items()
        if is_state_dict(value) and any(t.is_floating_point() and t.ndim > 1 for t in value.values())
    ]


def plain_names(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return a state dict whose names have no parts of wrappers, such as `module.` and `_orig_mod.`.

    Raises InputError, naming `source`, where two names then are the same.
    """
    plain = {name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in state}
    twice = {name for name, count in Counter(plain.values()).items() if count > 1}
    if twice:
        names = sorted((name for name in state if plain[name] in twice), key=lambda name: (plain[name], name))
        raise InputError(
            f"{source}: holds weights of the same name but for prefixes of wrappers: {join_names(names)}; "
            "keep those of one model"
        )
    return {plain[name]: value for name, value in state.items()}


def check_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Raise InputError where `state` is not of this model's kind.

    It names missing, unexpected and misshapen weights and those that are no floating-point numbers, and the
    architecture that would fit.
    """
    own = model.state_dict()
    problems = "; ".join(f"{kind}: {join_names(names)}" for kind, names in misfits(own, state) if names)
    if problems:
        raise InputError(
            f"{source} does not fit the model ({problems}); {suggest_architecture(own, dict(state))}"
        )


def misfits(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Iterator[tuple[str, list[str]]]:
    """Yield the kinds of problems of a state dict, each with the names that have it."""
    shared = sorted(own.keys() & state.keys())
    yield "missing keys", sorted(own.keys() - state.keys())
    yield "unexpected keys", sorted(state.keys() - own.keys())
    yield (
        "other shapes",
        [
            f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
            for name in shared
            if own[name].shape != state[name].shape
        ],
    )
    yield (
        "no floating-point numbers",
        [
            f"{name} {str(state[name].dtype).removeprefix('torch.')}"
            for name in shared
            if own[name].is_floating_point() and not is_computable(state[name])
        ],
    )
    yield "no plain tensors", [name for name in shared if not is_plain_tensor(state[name])]


def check_finite_state(state: Mapping[str, Tensor], source: str) -> None:
    """Raise InputError where weights hold NaN or infinities."""
    bad = [name for name, value in state.items() if not value.isfinite().all()]
    if bad:
        raise InputError(
            f"{source} holds weights that are not finite ({join_names(bad)}); take a checkpoint from before "
            "the training diverged"
        )


# architectures by the shapes of their weights


def shape_parameters(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the parameters of a plain ViT's architecture that the shapes of its weights tell, by path."""
    read = {
        "model.inline.embed_dim": ("visual.proj", 1),
        "model.inline.vision.width": ("visual.proj", 0),
        "model.inline.vision.patch_size": ("visual.conv1.weight", -1),
        "model.inline.text.width": ("token_embedding.weight", 1),
        "model.inline.text.vocab_size": ("token_embedding.weight", 0),
        "model.inline.text.context_length": ("positional_embedding", 0),
    }
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    parameters = {
        path: shapes[name][axis] for path, (name, axis) in read.items() if len(shapes.get(name, ())) >= 2
    }
    parameters["model.inline.vision.layers"] = count_layers(state, "visual.transformer.resblocks.")
    parameters["model.inline.text.layers"] = count_layers(state, "transformer.resblocks.")
    positions = shapes.get("visual.positional_embedding", (1,))[0]
    if "model.inline.vision.patch_size" in parameters:
        size = math.isqrt(max(0, positions - 1)) * parameters["model.inline.vision.patch_size"]
        parameters["views.image_size"] = size
    return {path: value for path, value in parameters.items() if value}


def count_layers(state: Mapping[str, Tensor], prefix: str) -> int:
    """Return the number of blocks whose weights have names that begin with `prefix`."""
    return len({name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)})


def suggest_architecture(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Return a hint at the parameters of the model whose weights `state` holds, where `own` has others."""
    mine, theirs = shape_parameters(own), shape_parameters(state)
    differing = [
        f"{path} {value} (not {mine[path]})"
        for path, value in theirs.items()
        if mine.get(path, value) != value
    ]
    if not differing:
        return "is model.architecture the checkpoint's?"
    named = named_architectures(theirs)
    names = f", as model.architecture {' or '.join(named)} has" if named else ""
    return f"its weights are of a model with {', '.join(differing)}{names}"


def named_architectures(parameters: Mapping[str, int]) -> Sequence[str]:
    """Return open_clip's names of plain ViTs that have these parameters, whatever their image size."""
    return [
        name
        for name in open_clip.list_models()
        if name.startswith("ViT-") and config_parameters(name).items() <= parameters.items()
    ][:3]


def config_parameters(name: str) -> dict[str, int]:
    """Return the parameters of open_clip's config of a name that shapes of weights tell, by path."""
    config = open_clip.get_model_config(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    return {
        "model.inline.embed_dim": config["embed_dim"],
        **{f"model.inline.vision.{key}": vision.get(key) for key in ("width", "layers", "patch_size")},
        **{f"model.inline.text.{key}": text.get(key) for key in ("width", "layers", "vocab_size")},
    }
