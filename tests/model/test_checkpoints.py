import pickle
import resource
from pathlib import Path

import open_clip
import pytest
import torch

from cosmos.config.params import InlineParams, LossParams, ModelParams, TextParams, VisionParams
from cosmos.model import checkpoints
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.teacher import make_teacher
from cosmos.model.towers import encode_image, encode_text
from tests.workspaces import commit, git

CONFIG = ModelConfig(
    ModelParams(
        inline=InlineParams(
            embed_dim=16,
            vision=VisionParams(width=16, layers=1, head_width=8, patch_size=8),
            text=TextParams(width=16, layers=1, heads=2, vocab_size=64, context_length=12),
        )
    ),
    LossParams(),
    32,
)


def written(folder: Path) -> Path:
    student = CONFIG.build()
    checkpoints.write(folder / "c.pt", student, make_teacher(student), CONFIG, epoch=3)
    return folder / "c.pt"


def test_what_is_written_is_read_back_and_says_its_own_configuration(tmp_path: Path) -> None:
    checkpoint = checkpoints.read(written(tmp_path))
    assert checkpoint.config == CONFIG
    assert checkpoint.extra["epoch"] == 3
    model = checkpoint.load("teacher", CONFIG)
    for name, value in model.state_dict().items():
        assert torch.equal(value, checkpoint.teacher[name])


def test_a_full_disk_leaves_the_checkpoint_before_and_names_the_one_that_failed(tmp_path: Path) -> None:
    before = written(tmp_path).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(ValueError, match=r"c\.pt: cannot be written .* make room"):
            written(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]
    assert (tmp_path / "c.pt").read_bytes() == before


def test_a_prefix_of_distributed_training_is_taken_off(tmp_path: Path) -> None:
    content = torch.load(written(tmp_path), weights_only=True)
    del content["config"]
    content["student"] = {f"module.{n}": v for n, v in content["student"].items()}
    torch.save(content, tmp_path / "published.pt")
    checkpoint = checkpoints.read(tmp_path / "published.pt")
    assert checkpoint.config is None
    checkpoint.load("student", CONFIG)


def test_missing_unexpected_and_misshapen_keys_are_named(tmp_path: Path) -> None:
    checkpoint = checkpoints.read(written(tmp_path))
    checkpoint.student["visual.extra"] = checkpoint.student.pop("visual.proj")
    checkpoint.student["ln_final.weight"] = torch.zeros(3)
    with pytest.raises(
        ValueError, match=r"missing keys: visual\.proj.*unexpected keys: visual\.extra.*\(3,\)"
    ):
        checkpoint.load("student", CONFIG)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


@pytest.mark.parametrize("content", [b"not a checkpoint", pickle.dumps(Bomb())])
def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.pt"):
        checkpoints.read(tmp_path / "bad.pt")


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"student": {}, "teacher": {}, "epoch": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match="read safely"):
        checkpoints.read(tmp_path / "bomb.pt")
    assert "executed" not in capsys.readouterr().out


def test_a_checkpoint_without_a_teacher_says_what_it_holds(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="state_dict"):
        checkpoints.read(tmp_path / "other.pt")


def test_unknown_names_list_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cosmos_vitb32_pixelprose"):
        checkpoints.fetch("published:cosmos_vitl14", tmp_path)
    with pytest.raises(ValueError, match="no such checkpoint"):
        checkpoints.fetch(str(tmp_path / "none.pt"), tmp_path)


def test_a_published_name_is_found_in_the_hub_cache(tmp_path: Path) -> None:
    repository = tmp_path / "models--sankim2--cosmos"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    written(snapshot).rename(snapshot / "cosmos_vitb16_cc3m.pt")
    path = checkpoints.fetch("published:cosmos_vitb16_cc3m", tmp_path)
    assert checkpoints.read(path).extra["epoch"] == 3


def test_a_checkpoint_as_it_was_at_a_revision_is_kept_below_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout" / ".dvc").mkdir(parents=True)
    written(tmp_path / "checkout")
    git(tmp_path / "checkout", "init", "--quiet")
    commit(tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    (tmp_path / "checkout" / "c.pt").unlink()
    path = checkpoints.fetch("dvc:HEAD:c.pt", tmp_path / "cache")
    assert path.parent == tmp_path / "cache" / "dvc"
    assert checkpoints.read(path).extra["epoch"] == 3
    with pytest.raises(ValueError, match="expected dvc:REV:PATH"):
        checkpoints.fetch("dvc:c.pt", tmp_path / "cache")


def test_a_hub_that_cannot_be_reached_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give a local file"):
        checkpoints.fetch("published:cosmos_vitb16_cc3m", tmp_path)


def test_an_exported_clip_is_loaded_by_open_clip_and_gives_the_same_embeddings(tmp_path: Path) -> None:
    model = CONFIG.build()
    checkpoints.export_clip(model, CONFIG, tmp_path / "exported.pt")
    open_clip.add_model_config(tmp_path / "exported.json")
    loaded = open_clip.create_model("exported", pretrained=str(tmp_path / "exported.pt"))
    loaded.eval()
    images, tokens = torch.randn(2, 3, 32, 32), torch.tensor([[62, 5, 63] + [0] * 9, [62, 63] + [0] * 10])
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_image(images), encode_image(model, images))
        torch.testing.assert_close(loaded.encode_text(tokens), encode_text(model, tokens))


def test_published_names_say_their_architecture() -> None:
    config = checkpoints.published_config("published:cosmos_vitb32_cc12m")
    assert config is not None
    assert (config.model.architecture, config.image_size) == ("ViT-B-32", 224)
    assert checkpoints.published_config("runs/x/step-1.pt") is None
