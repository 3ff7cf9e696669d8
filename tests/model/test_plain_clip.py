"""Plain CLIPs in files: what is exported, and what is read as a baseline."""

import resource
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor

from cosmos.config.params import LossParams, ModelParams
from cosmos.errors import InputError, TransientError
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.packing import caption_lengths
from cosmos.model.plain_clip import clip_description, export_clip, has_open_clip_name, load_plain_clip
from cosmos.model.towers import encode_image, encode_text, inline_config
from tests.model.examples import CONFIG, written

SIGLIP = ModelConfig(CONFIG.model, LossParams(contrastive="siglip"), 32)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("config", [CONFIG, SIGLIP], ids=["clip", "siglip"])
def test_an_exported_clip_is_loaded_by_open_clip_and_gives_the_same_embeddings(
    tmp_path: Path, config: ModelConfig, suffix: str
) -> None:
    model = config.build()
    path = tmp_path / f"exported-{config.loss.contrastive}{suffix}"
    description = export_clip(model, config, path)
    assert description == path.with_suffix(".json")
    open_clip.add_model_config(description)
    loaded = open_clip.create_model(path.stem, pretrained=str(path))
    loaded.eval()
    images, tokens = torch.randn(2, 3, 32, 32), torch.tensor([[62, 5, 63] + [0] * 9, [62, 63] + [0] * 10])
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_image(images), encode_image(model, images))
        torch.testing.assert_close(
            loaded.encode_text(tokens), encode_text(model, tokens, caption_lengths(tokens))
        )


def named(image_size: int, **loss: Any) -> ModelConfig:
    return ModelConfig(ModelParams(architecture="ViT-B-32"), LossParams(**loss), image_size)


def test_a_model_that_open_clips_name_does_not_tell_is_described_beside_its_weights() -> None:
    assert has_open_clip_name(named(224))
    assert not has_open_clip_name(named(96))  # open_clip would resize the positions in silence
    assert clip_description(named(96))["vision_cfg"]["image_size"] == 96
    assert not has_open_clip_name(named(224, contrastive="siglip"))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.9])
def test_a_full_disk_leaves_the_export_before_whole_and_is_named(
    tmp_path: Path, suffix: str, share: float
) -> None:
    path = tmp_path / f"clip{suffix}"
    export_clip(CONFIG.build(), CONFIG, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * path.stat().st_size), hard))
    try:
        with pytest.raises(TransientError, match=rf"clip\{suffix}: cannot be written .*; allow larger files"):
            export_clip(CONFIG.build(), CONFIG, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_model_that_diverged_is_not_exported(tmp_path: Path) -> None:
    model = CONFIG.build()
    torch.nn.init.constant_(model.visual.proj, torch.nan)
    with pytest.raises(InputError, match=r"clip\.pt: not written: .* not finite \(visual\.proj\)"):
        export_clip(model, CONFIG, tmp_path / "clip.pt")
    assert not any(tmp_path.iterdir())


def plain_clip() -> CLIP:
    config = inline_config(CONFIG.model)
    return CLIP(config["embed_dim"], {**config["vision_cfg"], "image_size": 32}, config["text_cfg"])


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Tensor]:
    export_clip(CONFIG.build(), CONFIG, tmp_path / "clip.pt")
    state: dict[str, Tensor] = torch.load(tmp_path / "clip.pt", weights_only=True)
    return state


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
