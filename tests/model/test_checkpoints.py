import errno
import os
import resource
from pathlib import Path

import pytest
import torch

from cosmos.errors import (
    CosmosError,
    DamagedDataError,
    InputError,
    NotPermittedError,
    TransientError,
    error_kind,
)
from cosmos.model import checkpoints
from tests.model.examples import CONFIG, written


def test_what_is_written_is_read_back_and_says_its_own_configuration(tmp_path: Path) -> None:
    checkpoint = checkpoints.read_checkpoint(written(tmp_path))
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
        with pytest.raises(TransientError, match=r"c\.pt: .*File too large.*; allow larger files"):
            written(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]
    assert (tmp_path / "c.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EROFS, NotPermittedError),
        (errno.EACCES, NotPermittedError),
        (errno.ENOTDIR, InputError),
        (errno.EIO, TransientError),
    ],
)
def test_an_error_in_writing_says_what_follows(tmp_path: Path, number: int, kind: type[CosmosError]) -> None:
    with (
        pytest.raises(CosmosError, match=rf"^{tmp_path}/c\.pt: .*{os.strerror(number)}.*; ") as raised,
        checkpoints.replacing_checkpoint(tmp_path / "c.pt"),
    ):
        raise OSError(number, os.strerror(number))
    assert error_kind(raised.value) == kind.__name__


def test_a_prefix_of_distributed_training_is_taken_off(tmp_path: Path) -> None:
    content = torch.load(written(tmp_path), weights_only=True)
    del content["config"]
    content["student"] = {f"module.{n}": v for n, v in content["student"].items()}
    torch.save(content, tmp_path / "published.pt")
    checkpoint = checkpoints.read_checkpoint(tmp_path / "published.pt")
    assert checkpoint.config is None
    checkpoint.load("student", CONFIG)


def test_missing_unexpected_and_misshapen_keys_are_named(tmp_path: Path) -> None:
    checkpoint = checkpoints.read_checkpoint(written(tmp_path))
    checkpoint.student["visual.extra"] = checkpoint.student.pop("visual.proj")
    checkpoint.student["ln_final.weight"] = torch.zeros(3)
    with pytest.raises(
        ValueError, match=r"missing keys: visual\.proj.*unexpected keys: visual\.extra.*\(3,\)"
    ):
        checkpoint.load("student", CONFIG)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(DamagedDataError, match=r"bad\.pt"):
        checkpoints.read_checkpoint(tmp_path / "bad.pt")


def test_a_checkpoint_with_broken_bytes_is_told_from_one_of_another_format(tmp_path: Path) -> None:
    whole = written(tmp_path).read_bytes()
    pickled = whole.index(b"data.pkl")
    half, start, flipped = whole[: len(whole) // 2], whole[:5000], bytearray(whole)
    flipped[pickled + 100] ^= 0xFF
    for content in (half, start, bytes(flipped)):
        (tmp_path / "damaged.pt").write_bytes(content)
        with pytest.raises(DamagedDataError, match=r"damaged\.pt"):
            checkpoints.read_checkpoint(tmp_path / "damaged.pt")


def test_a_disk_that_fails_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    written(tmp_path)
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(TransientError, match=r"c\.pt: cannot be read \(.*Input/output error"):
        checkpoints.read_checkpoint(tmp_path / "c.pt")


def test_a_checkpoint_that_is_not_there_or_cannot_be_opened_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such checkpoint"):
        checkpoints.read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(InputError, match=r"Is a directory\); name a file in it, or move it away"):
        checkpoints.read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, "this holds state_dict$"),
        (
            {"epoch": 3, "ema": {"x": torch.zeros(2, 2)}},
            r"holds epoch, ema; .* open_clip:ARCHITECTURE:\S+c\.pt",
        ),
        (
            {"visual.proj": torch.zeros(2, 2)},
            r"holds visual\.proj; the weights of a plain CLIP are measured as",
        ),
        ({f"key{i}": i for i in range(1000)}, "holds key0, key1, key2, key3, key4 and 995 more$"),
        ([1, 2], "this holds a list"),
        ({"student": torch.zeros(2), "teacher": {}}, "this holds student, teacher"),
        ({"student": {"visual.proj": 3}, "teacher": {}}, "this holds student, teacher"),
        ({}, "this holds nothing"),
    ],
)
def test_a_file_without_student_and_teacher_says_what_it_holds(
    tmp_path: Path, content: object, message: str
) -> None:
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(
        InputError, match=rf"c\.pt: a checkpoint holds weights of `student` and `teacher`.*{message}"
    ):
        checkpoints.read_checkpoint(tmp_path / "c.pt")


def test_a_checkpoint_of_the_teacher_alone_is_read_and_says_that_it_has_no_student(tmp_path: Path) -> None:
    content = torch.load(written(tmp_path), weights_only=True)
    del content["student"]
    torch.save(content, tmp_path / "ema.pt")
    checkpoint = checkpoints.read_checkpoint(tmp_path / "ema.pt")
    checkpoint.load("teacher", CONFIG)
    with pytest.raises(InputError, match=r"ema\.pt: holds no weights of the student, only of the teacher"):
        checkpoint.load("student", CONFIG)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 20}, r"views\.image_size: 20 is not a multiple of .*patch_size 8"),
        (
            {"model": {"inline": {"vision": {"width": 100}}}},
            r"vision\.width: 100 is not a multiple",
        ),
        ({"model": {"kind": "cnn"}}, r"model\.kind: no such key"),
        ({"loss": 3}, r"  loss: "),
    ],
)
def test_a_configuration_that_is_no_models_is_refused_by_its_keys(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    content = torch.load(written(tmp_path), weights_only=True)
    content["config"] |= changes
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(InputError, match=rf"(?s)c\.pt: its `config` is no model's .*:.*{message}"):
        _ = checkpoints.read_checkpoint(tmp_path / "c.pt").config


def test_a_configuration_that_grows_as_it_is_shown_is_refused_in_a_line(tmp_path: Path) -> None:
    content = torch.load(written(tmp_path), weights_only=True)
    growing: list[object] = ["x"]
    for _ in range(25):
        growing = [growing] * 9
    content["config"] |= {"image_size": growing}
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(InputError, match=r"image_size: .*given: \[\[.*\.\.\.") as error:
        _ = checkpoints.read_checkpoint(tmp_path / "c.pt").config
    assert len(str(error.value)) < 2000


def test_weights_in_half_precision_become_float32(tmp_path: Path) -> None:
    content = torch.load(written(tmp_path), weights_only=True)
    content["student"] = {name: value.half() for name, value in content["student"].items()}
    torch.save(content, tmp_path / "half.pt")
    model = checkpoints.read_checkpoint(tmp_path / "half.pt").load("student", CONFIG)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}


def test_published_names_say_their_architecture() -> None:
    config = checkpoints.published_config("cosmos_vitb32_cc12m")
    assert config is not None
    assert (config.model.architecture, config.image_size) == ("ViT-B-32", 224)
    assert checkpoints.published_config("step-1") is None
