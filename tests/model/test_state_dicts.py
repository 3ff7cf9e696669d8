"""State dicts from elsewhere: prefixes of wrappers, and weights of another model."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from cosmos.config.params import InlineParams, LossParams, ModelParams
from cosmos.errors import InputError
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.state_dicts import (
    check_finite_state,
    check_state,
    named_architectures,
    plain_names,
    shape_parameters,
)
from tests.model.examples import CONFIG

NUMBER = torch.tensor(1.0)


@pytest.mark.parametrize(
    "name",
    [
        "visual.proj",
        "module.visual.proj",
        "_orig_mod.visual.proj",
        "module._orig_mod.visual.proj",
        "_orig_mod.module.module.visual.proj",
        "visual._orig_mod.proj",
        "_fsdp_wrapped_module.visual._checkpoint_wrapped_module.proj",
    ],
)
def test_prefixes_of_wrappers_are_taken_off_in_any_order_and_place(name: str) -> None:
    assert plain_names({name: NUMBER}, "c.pt") == {"visual.proj": NUMBER}


def test_a_part_of_a_name_that_only_looks_like_a_prefix_stays() -> None:
    assert plain_names({"my_module.submodule.x": NUMBER}, "c.pt") == {"my_module.submodule.x": NUMBER}


def test_two_weights_of_one_name_are_refused_with_both() -> None:
    state = {"x": NUMBER, "module.x": NUMBER, "a.module.z": NUMBER, "a.z": NUMBER, "module.y": NUMBER}
    with pytest.raises(
        InputError, match=r"c\.pt: student: .* wrappers: a\.module\.z, a\.z, module\.x, x; keep"
    ):
        plain_names(state, "c.pt: student")


def test_wrappers_of_torch_itself_are_taken_off() -> None:
    wrapped = nn.DataParallel(cast(nn.Module, torch.compile(nn.Sequential(nn.Linear(2, 2)))))
    assert plain_names(wrapped.state_dict(), "c.pt").keys() == {"0.weight", "0.bias"}


def state(image_size: int = 32, **inline: Any) -> dict[str, Tensor]:
    """Weights of a model like the tests' own but for some of its parameters."""
    params = CONFIG.model.inline.model_dump()
    for key, value in inline.items():
        params[key] = {**params[key], **value} if isinstance(value, dict) else value
    config = ModelConfig(ModelParams(inline=InlineParams.model_validate(params)), LossParams(), image_size)
    return dict(config.build().state_dict())


@pytest.mark.parametrize(
    ("changes", "shapes", "hint"),
    [
        (
            {"vision": {"width": 24}},
            r"visual\.class_embedding \(24,\) instead of \(16,\)",
            r"model\.inline\.vision\.width 24 \(not 16\)",
        ),
        (
            {"vision": {"patch_size": 16}},
            r"visual\.conv1\.weight \(16, 3, 16, 16\) instead of \(16, 3, 8, 8\)",
            r"model\.inline\.vision\.patch_size 16 \(not 8\)",
        ),
        (
            {"text": {"vocab_size": 80}},
            r"token_embedding\.weight \(80, 16\) instead of \(64, 16\)",
            r"model\.inline\.text\.vocab_size 80 \(not 64\)",
        ),
        (
            {"text": {"context_length": 10}},
            r"positional_embedding \(10, 16\) instead of \(12, 16\)",
            r"model\.inline\.text\.context_length 10 \(not 12\)",
        ),
        (
            {"image_size": 64},
            r"visual\.positional_embedding \(65, 16\) instead of \(17, 16\)",
            r"a model with views\.image_size 64 \(not 32\)$",
        ),
        (
            {"vision": {"layers": 2}},
            r"unexpected keys: visual\.transformer\.resblocks\.1\.\S+ .*and 7 more",
            r"model\.inline\.vision\.layers 2 \(not 1\)",
        ),
        (
            {"embed_dim": 32},
            r"image_token_mapping\.weight \(32, 16\) instead of \(16, 16\)",
            r"embed_dim 32 \(not 16\)",
        ),
    ],
)
def test_weights_of_another_model_are_refused_with_both_shapes_and_the_parameter_that_would_fit(
    changes: dict[str, Any], shapes: str, hint: str
) -> None:
    with pytest.raises(InputError, match=rf"(?s)c\.pt: teacher does not fit the model \(.*{shapes}.*{hint}"):
        check_state(CONFIG.build(), state(**changes), "c.pt: teacher")


def test_weights_that_are_no_floating_point_numbers_are_refused_with_their_type() -> None:
    weights = state() | {"visual.proj": torch.zeros(16, 16, dtype=torch.int8)}
    with pytest.raises(InputError, match=r"no floating-point numbers: visual\.proj int8"):
        check_state(CONFIG.build(), weights, "c.pt")
    check_state(CONFIG.build(), {name: value.half() for name, value in state().items()}, "c.pt")


def test_a_message_about_a_thousand_names_is_short() -> None:
    with pytest.raises(InputError, match=r"unexpected keys: k0, k1, k10, k100, k101 and 995 more") as error:
        check_state(CONFIG.build(), {f"k{i}": NUMBER for i in range(1000)}, "c.pt")
    assert len(str(error.value)) < 600


def test_weights_that_are_not_finite_are_named() -> None:
    with pytest.raises(InputError, match=r"c\.pt holds weights that are not finite \(b, c\); take"):
        check_finite_state(
            {"a": NUMBER, "b": torch.tensor([1, torch.nan]), "c": torch.tensor(-torch.inf)}, "c.pt"
        )


def test_open_clips_names_for_an_architecture_are_found_by_the_shapes_of_its_weights() -> None:
    config = ModelConfig(ModelParams(architecture="ViT-B-32"), LossParams(), 224)
    with torch.device("meta"):
        parameters = shape_parameters(config.build().state_dict())
    assert parameters["views.image_size"] == 224
    assert "ViT-B-32" in named_architectures(parameters)
