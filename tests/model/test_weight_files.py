"""Files of weights as people have them: read without executing anything, or refused by what they are."""

import argparse
import gzip
import json
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cosmos.errors import DamagedDataError, InputError
from cosmos.model.weight_files import join_names, read_weight_file

WEIGHTS = {"visual.proj": torch.arange(6.0).reshape(2, 3), "logit_scale": torch.tensor(2.0)}


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


def test_a_checkpoint_is_read_where_the_file_system_maps_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("unable to mmap 432 bytes from file <w.pt>: No such device (19)")

    torch.save(WEIGHTS, tmp_path / "w.pt")
    monkeypatch.setattr(torch.UntypedStorage, "from_file", refuse)
    assert torch.equal(read_weight_file(tmp_path / "w.pt")["visual.proj"], WEIGHTS["visual.proj"])


@pytest.mark.parametrize("form", ["zip", "before PyTorch 1.6", "safetensors", "safetensors called .pt"])
def test_weights_are_read_in_the_formats_that_hold_nothing_to_execute(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form.startswith("safetensors"):
        save_file(WEIGHTS, path)
    else:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=form == "zip")
    content = read_weight_file(path)
    assert content.keys() == WEIGHTS.keys()
    assert all(torch.equal(content[name], value) for name, value in WEIGHTS.items())


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.float64(0.5), r"numpy\.\w+\.multiarray\.scalar"),
        (argparse.Namespace(lr=1), r"argparse\.Namespace"),
        (nn.Linear(2, 2), r"torch\.nn\.modules\.linear\.Linear"),
        (Bomb(), "print"),
    ],
)
def test_a_refused_pickle_names_the_class_that_it_holds_and_the_way_to_convert_it(
    tmp_path: Path, value: object, name: str, is_zip: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.pt"
    torch.save({"student": WEIGHTS, "best": value}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(
        InputError, match=rf"w\.pt: holds `({name})`, which .* save the state dicts alone: docs"
    ) as error:
        read_weight_file(path)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    assert "\x1b" not in message
    assert capsys.readouterr().out == ""


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"{path.stem}/{name}.pkl", content)
    return path


FOREIGN = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n": "Git LFS pointer.*`git lfs pull`",
    b"outs:\n- md5: 1\n  path: c.pt\n": "pointer of DVC.*`dvc pull`",
    b"\n<!DOCTYPE html><html><title>Log in</title>": "a web page.* download the file again",
    json.dumps({"error": "no access"}).encode(): "JSON",
    gzip.compress(b"weights"): "compressed; unpack it first",
    b"\x93NUMPY\x01\x00": "NumPy",
    pickle.dumps(Bomb()): "a pickle that torch.save did not write",
    pickle.dumps({"student": 1}, protocol=2): "a pickle that torch.save did not write",
}


@pytest.mark.parametrize(("content", "message"), FOREIGN.items(), ids=FOREIGN.values())
def test_a_file_of_another_kind_is_refused_by_what_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"w\.pt: .*{message}"):
        read_weight_file(path)


def test_archives_that_hold_a_program_or_no_weights_are_refused_by_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a TorchScript archive, which is a program"):
        read_weight_file(archive(tmp_path / "w.pt", data=b"", constants=b""))
    with pytest.raises(InputError, match=r"not of torch\.save: it holds photos/a\.pkl"):
        read_weight_file(archive(tmp_path / "photos.pt", a=b""))
    torch.save(WEIGHTS, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"no file of safetensors; rename it to \.pt"):
        read_weight_file(tmp_path / "w.safetensors")


@pytest.mark.parametrize("form", ["zip", "before PyTorch 1.6", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_file_that_was_cut_short_is_damaged(tmp_path: Path, form: str, share: float) -> None:
    path = tmp_path / "w.pt"
    if form == "safetensors":
        save_file(WEIGHTS, path)
    else:
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DamagedDataError, match=r"w\.pt: (?!.*\x1b)"):
        read_weight_file(path)


def test_a_thousand_names_are_shortened_and_names_of_strangers_are_made_printable() -> None:
    names = [f"blocks.{i}.weight" for i in range(1000)]
    assert join_names(names).endswith("blocks.4.weight and 995 more")
    assert join_names(["\x1b[31mred", "x" * sys.maxunicode]) == repr("\x1b[31mred") + ", " + "x" * 97 + "..."
