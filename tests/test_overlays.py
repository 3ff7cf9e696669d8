from pathlib import Path
from typing import Any

import pytest

from cosmos.overlays import experiment_file, load_params, read_mapping
from cosmos.params import DistillTermParams, Params

ROOT = Path(__file__).parent.parent


def test_params_yaml_and_the_defaults_in_the_code_say_the_same() -> None:
    assert read_mapping(ROOT / "params.yaml") == Params().model_dump(mode="json")


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_experiment_is_valid(path: Path) -> None:
    load_params(str(path), base=ROOT / "params.yaml")


def test_overlays_and_overrides_replace_single_values(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("pretrain: {epochs: 3, batch_size: 8}\n")
    (tmp_path / "overlay.yaml").write_text("pretrain: {epochs: 4, seed: 1}\nloss: {distillation: none}\n")
    params = load_params(str(tmp_path / "overlay.yaml"), {"pretrain": {"seed": 2}}, tmp_path / "params.yaml")
    assert (params.pretrain.epochs, params.pretrain.batch_size, params.pretrain.seed) == (4, 8, 2)
    assert params.loss.distillation == "none"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"pretrain": {"epoch": 3}}, r"pretrain\.epoch: no such key"),
        ({"pretrain": {"epochs": "many"}}, r"pretrain\.epochs: .*integer.*'many'"),
        ({"pretrain": {"momentum": 1.5}}, r"pretrain\.momentum: .*less than or equal to 1"),
        ({"views": {"local_size": 30}}, r"views\.local_size: 30 is not a multiple of .*patch_size 8"),
        ({"views": {"local_size": 72}}, r"views\.local_size: 72 is larger than views\.image_size 64"),
        ({"model": {"cross_attention_heads": 3}}, r"model\.inline\.embed_dim: 128 is not a multiple"),
        ({"data": {"source": "coco"}}, r"data\.annotations: source coco needs"),
        ({"data": {"source": "folder"}}, r"data\.images: source folder needs"),
        ({"data": {"name": "../escape"}}, r"data\.name"),
        ({"evaluate": {"retrieval": {"layout": "coco"}}}, r"evaluate\.retrieval\.layout: no such key"),
        ({"evaluate": {"models": []}}, r"evaluate\.models: .*at least 1 item"),
        (
            {"evaluate": {"segmentation": {"own": {"mine": {"images": "a"}}}}},
            r"evaluate\.segmentation\.own\.mine\.classes: Field required",
        ),
        ({"loss": {"distillation": "both"}}, r"loss\.distillation: .*'cross-modal'"),
        (
            {"loss": {"distillation": "none", "distill_terms": {"text_to_text": 1}}},
            r"loss\.distill_terms: distillation none does not weight",
        ),
        (
            {"loss": {"distill_terms": dict.fromkeys(DistillTermParams.model_fields, 0)}},
            r"loss\.distill_terms: no term has a weight",
        ),
    ],
)
def test_wrong_parameters_are_refused_with_their_path(override: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_params(overrides=override, base=ROOT / "params.yaml")


@pytest.mark.parametrize(("text", "message"), [("a: [", "not YAML"), ("- 1", "expected sections")])
def test_a_file_that_holds_no_parameters_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"bad\.yaml: {message}"):
        read_mapping(tmp_path / "bad.yaml")
    with pytest.raises(ValueError, match=r"none\.yaml: no such file"):
        read_mapping(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\)"):
        read_mapping(tmp_path)


def test_parameters_never_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_PRETRAIN__EPOCHS", "99")
    monkeypatch.setenv("PRETRAIN", '{"epochs": 99}')
    assert load_params(base=ROOT / "params.yaml").pretrain.epochs == Params().pretrain.epochs


def test_an_experiment_is_named_by_its_stem_or_its_path() -> None:
    assert experiment_file("clip") == Path("experiments/clip.yaml")
    assert experiment_file("elsewhere/x.yaml") == Path("elsewhere/x.yaml")
