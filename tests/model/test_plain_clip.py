"""Plain CLIPs in files, which are read as baselines."""

from pathlib import Path

import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor

from cosmos.config.params import LossParams
from cosmos.errors import InputError
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.plain_clip import clip_description, is_beyond_clip, load_plain_clip
from cosmos.model.towers import inline_config
from tests.model.examples import CONFIG, written


def plain_clip() -> CLIP:
    config = inline_config(CONFIG.model)
    return CLIP(config["embed_dim"], {**config["vision_cfg"], "image_size": 32}, config["text_cfg"])


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return {name: value for name, value in CONFIG.build().state_dict().items() if not is_beyond_clip(name)}


@pytest.mark.parametrize("key", ["", "state_dict", "model", "module", "ema", "model_state_dict"])
def test_the_weights_of_a_baseline_may_lie_below_a_key_and_have_prefixes(
    tmp_path: Path, weights: dict[str, Tensor], key: str
) -> None:
    wrapped = {f"_orig_mod.module.{name}": value.half() for name, value in weights.items()}
    rest = {"epoch": 3, "rng": {"cpu": torch.get_rng_state()}, "optimizer": {"state": {}}}
    torch.save({key: wrapped, **rest} if key else wrapped, tmp_path / "w.pt")
    model = plain_clip()
    load_plain_clip(model, tmp_path / "w.pt")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[name].half().float(), atol=0, rtol=0)


def test_a_baseline_of_other_sizes_is_refused_with_both_shapes(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    weights["positional_embedding"] = torch.zeros(12, 24)  # an assertion in open_clip
    weights["visual.positional_embedding"] = torch.zeros(5, 16)  # resized in silence by open_clip
    torch.save(weights, tmp_path / "w.pt")
    message = r"w\.pt does not fit .*\(12, 24\) instead of \(12, 16\).*\(5, 16\) instead of \(17, 16\)"
    with pytest.raises(InputError, match=message):
        load_plain_clip(plain_clip(), tmp_path / "w.pt")


def test_a_file_with_no_plain_clip_or_several_models_is_refused(
    tmp_path: Path, weights: dict[str, Tensor]
) -> None:
    path = tmp_path / "w.pt"
    torch.save({"state_dict": weights, "ema": weights}, path)
    with pytest.raises(InputError, match=r"w\.pt: holds several models \(state_dict, ema\)"):
        load_plain_clip(plain_clip(), path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(InputError, match=r"w\.pt: holds no weights by name; it holds epoch"):
        load_plain_clip(plain_clip(), path)
    with pytest.raises(
        InputError, match=r"c\.pt: a checkpoint of COSMOS, which is named without `open_clip:`"
    ):
        load_plain_clip(plain_clip(), written(tmp_path))


def test_siglip_begins_with_the_bias_of_the_parameters() -> None:
    config = ModelConfig(CONFIG.model, LossParams(contrastive="siglip", siglip_bias=-3.5), 32)
    model = config.build()
    assert model.logit_bias.item() == -3.5
    assert clip_description(config)["init_logit_bias"] == -3.5
