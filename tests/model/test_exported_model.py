"""Exported models: what open_clip loads from them, and what is read back here."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import tokenizers
import torch
from open_clip.model import CLIP
from PIL import Image

from cosmos.config.params import InlineParams, LossParams, ModelParams, TextParams, VisionParams
from cosmos.data.image_crops import evaluation_transform
from cosmos.data.tokenizer import Tokenizer
from cosmos.errors import DamagedDataError, InputError
from cosmos.model.checkpoint_reference import parse_checkpoint_reference
from cosmos.model.checkpoints import ModelConfig, read_checkpoint
from cosmos.model.cosmos import Cosmos
from cosmos.model.export_format import CLIP_FILE, PARTS_FILE, ModelOrigin
from cosmos.model.exported_model import write_exported_model
from cosmos.model.packing import caption_lengths
from cosmos.model.plain_clip import clip_description
from cosmos.model.towers import encode_image, encode_text
from tests.model.examples import CONFIG

WHOLE_VOCABULARY = ModelConfig(
    ModelParams(
        inline=InlineParams(
            embed_dim=16,
            vision=VisionParams(width=16, layers=1, head_width=8, patch_size=8),
            text=TextParams(width=8, layers=1, heads=2),
        )
    ),
    LossParams(),
    48,
)
CONFIGS = {
    "cosmos": CONFIG,
    "siglip": ModelConfig(CONFIG.model, LossParams(contrastive="siglip", distillation="none"), 32),
    "image-only": ModelConfig(CONFIG.model, LossParams(distillation="image-only"), 32),
    "larger-images": ModelConfig(CONFIG.model, LossParams(), 64),
    "captions": WHOLE_VOCABULARY,
}
ORIGIN = ModelOrigin("mine", "step-00000003.pt", "0" * 64, 3, 1.5)


def export(folder: Path, config: ModelConfig = CONFIG, which: Any = "teacher") -> Cosmos:
    torch.manual_seed(0)
    model = config.build()
    model.eval()
    folder.mkdir()
    write_exported_model(folder, model, config, which, ORIGIN)
    return model


def random_tokens(length: int) -> torch.Tensor:
    tokens = torch.randint(1, 62, (5, length))
    for row, end in enumerate((length - 1, 3, 1, 5, 2)):
        tokens[row, end], tokens[row, end + 1 :] = 63, 0
    return tokens


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.no_grad()
def test_open_clip_loads_the_same_model_bit_for_bit(tmp_path: Path, config: ModelConfig) -> None:
    model = export(tmp_path / "out", config)
    loaded, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'out'}")
    loaded.eval()
    images = torch.randn(3, 3, config.image_size, config.image_size)
    tokens = random_tokens(model.context_length)
    assert torch.equal(loaded.encode_image(images), CLIP.encode_image(model, images))
    assert torch.equal(loaded.encode_text(tokens), CLIP.encode_text(model, tokens))
    torch.testing.assert_close(loaded.encode_image(images), encode_image(model, images))
    torch.testing.assert_close(
        loaded.encode_text(tokens), encode_text(model, tokens, caption_lengths(tokens))
    )
    assert torch.equal(loaded.logit_scale, model.logit_scale)
    assert (loaded.logit_bias is None) == (config.loss.contrastive == "clip")
    pixels = np.random.default_rng(0).integers(0, 256, (97, 131, 3), dtype=np.uint8)
    photograph = Image.fromarray(pixels)
    assert torch.equal(preprocess(photograph), evaluation_transform(config.image_size)(photograph))


def test_precision_is_the_choice_of_whoever_loads_it(tmp_path: Path) -> None:
    model = export(tmp_path / "out")
    images = torch.randn(2, 3, 32, 32)
    loaded = open_clip.create_model(f"local-dir:{tmp_path / 'out'}", precision="pure_bf16").eval()
    with torch.no_grad():
        expected = CLIP.encode_image(model.to(torch.bfloat16), images.bfloat16())
        assert torch.equal(loaded.encode_image(images.bfloat16()), expected)


CAPTIONS = [
    "a photo of a cat",
    "Two  DOGS'll run, &amp; they've 12 balls!",
    "café — naïve 日本語 🙂",
    "x" * 200,
    "word " * 100,
    "",
]


def test_the_tokenizer_of_open_clip_and_that_in_the_files_give_the_ids_of_the_training(
    tmp_path: Path,
) -> None:
    export(tmp_path / "out", WHOLE_VOCABULARY)
    ours = Tokenizer(77, 49408).encode(CAPTIONS)
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{tmp_path / 'out'}")(CAPTIONS), ours)
    compiled = tokenizers.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    for caption, ids in zip(CAPTIONS, ours.tolist(), strict=True):
        expected = ids[: ids.index(49407) + 1]
        encoded = compiled.encode(caption.replace("&amp;", "&")).ids  # open_clip unescapes HTML itself
        assert [*encoded[: len(expected) - 1], encoded[-1]] == expected


@pytest.mark.parametrize("which", ["student", "teacher"])
def test_a_folder_is_read_back_as_a_checkpoint_with_all_parts_of_the_model(
    tmp_path: Path, which: str
) -> None:
    model = export(tmp_path / "out", which=which)
    file = parse_checkpoint_reference(str(tmp_path / "out")).fetch(tmp_path)
    assert file == tmp_path / "out" / CLIP_FILE
    checkpoint = read_checkpoint(file)
    assert checkpoint.config == CONFIG
    assert (checkpoint.extra["step"], checkpoint.extra["epoch"]) == (3, 1.5)
    state = checkpoint.load(which, CONFIG).state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    other = {"student": "teacher", "teacher": "student"}[which]
    with pytest.raises(InputError, match=f"holds no weights of the {other}, only of the {which}"):
        checkpoint.load(other, CONFIG)


def test_weights_that_are_damaged_or_of_another_export_are_noticed(tmp_path: Path) -> None:
    export(tmp_path / "out")
    parts = tmp_path / "out" / PARTS_FILE
    whole = parts.read_bytes()
    parts.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamagedDataError, match=r"cosmos\.safetensors: not the file that cosmos\.json"):
        read_checkpoint(tmp_path / "out" / CLIP_FILE)
    parts.unlink()
    with pytest.raises(InputError, match=r"cosmos\.safetensors: no such checkpoint"):
        read_checkpoint(tmp_path / "out" / CLIP_FILE)
    (tmp_path / "out" / "cosmos.json").write_text("{}")
    with pytest.raises(DamagedDataError, match=r"cosmos\.json: not a record of an exported model \(which"):
        read_checkpoint(tmp_path / "out" / CLIP_FILE)


def test_a_model_that_diverged_is_not_exported(tmp_path: Path) -> None:
    model = CONFIG.build()
    torch.nn.init.constant_(model.visual.proj, torch.nan)
    with pytest.raises(
        InputError, match=r"step-00000003\.pt: not exported: its teacher holds weights .*visual"
    ):
        write_exported_model(tmp_path, model, CONFIG, "teacher", ORIGIN)
    assert not any(tmp_path.iterdir())


def test_a_named_architecture_is_described_with_its_own_image_size() -> None:
    config = ModelConfig(ModelParams(architecture="ViT-B-32"), LossParams(), 96)
    assert clip_description(config)["vision_cfg"]["image_size"] == 96
