"""Uploads to a server that speaks the hub's API: what arrives there, and what is said where nothing does."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from open_clip.model import CLIP

from cosmos.config.machine import Machine
from cosmos.errors import InputError, TransientError
from cosmos.stages.export import Publication, export_model
from cosmos.stages.hub_upload import check_repository, upload_folder
from tests.model.examples import CONFIG, write_checkpoint, written
from tests.stages.hub_server import TOKEN, Hub, serving_hub

REPOSITORY = "group/tiny"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def exported(folder: Path, **publication: str) -> Path:
    decisions = Publication(repository=REPOSITORY, **publication)  # type: ignore[arg-type]
    checkpoint = folder / "c.pt" if (folder / "c.pt").exists() else written(folder)
    export_model(str(checkpoint), folder / "out", decisions, Machine())
    return folder / "out"


def test_an_export_is_uploaded_to_a_private_repository_as_it_lies_on_the_disk(
    tmp_path: Path, hub: Hub, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = exported(tmp_path)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.repositories == {REPOSITORY: files}
    assert hub.private == [REPOSITORY]
    assert hub.messages == ["Upload c.pt"]
    assert f'"hf-hub:{REPOSITORY}"' in (folder / "README.md").read_text()
    said = "".join(capfd.readouterr())
    assert f"uploaded: {hub.url}/{REPOSITORY}/commit/" in said
    assert TOKEN not in said

    exported(tmp_path, licence="mit")  # the weights are there already
    assert len(hub.uploads) == 2
    assert b"license: mit" in hub.repositories[REPOSITORY]["README.md"]


@pytest.mark.parametrize(
    ("licence", "message"),
    [("apache-3.0", r"group/tiny: not uploaded to http.*: Invalid metadata.*apache-3\.0"), ("mit", "")],
)
def test_a_model_card_that_the_hub_refuses_is_refused_with_its_reason_before_weights_are_uploaded(
    tmp_path: Path, hub: Hub, licence: str, message: str
) -> None:
    if message:
        with pytest.raises(InputError, match=message):
            exported(tmp_path, licence=licence)
        assert not hub.uploads
        assert (tmp_path / "out" / "README.md").exists()
    else:
        exported(tmp_path, licence=licence)
        assert hub.uploads


def test_a_token_that_is_refused_is_the_users_to_mend_and_is_not_shown(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    message = (
        r"^group/tiny: not uploaded to http.*: the hub refuses the token \(401: Invalid user token\.\); `hf"
    )
    with pytest.raises(InputError, match=message) as refused:
        upload_folder(tmp_path, REPOSITORY, "Upload")
    assert "hf_expired" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_hub_that_is_busy_or_does_not_answer_is_to_be_tried_again(tmp_path: Path, hub: Hub) -> None:
    hub.status = 503
    with pytest.raises(
        TransientError, match=r"group/tiny: not uploaded to http.*: .*503.*; the same command uploads it"
    ):
        upload_folder(tmp_path, REPOSITORY, "Upload")
    hub.shutdown()
    hub.server_close()
    with pytest.raises(
        TransientError, match=r"group/tiny: not uploaded to http.*: .*; the same command uploads it again"
    ):
        upload_folder(tmp_path, REPOSITORY, "Upload")


def test_what_cannot_be_uploaded_is_said_before_anything_is_written(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for repository, message in {"a b/c": "give USER/NAME", "tiny": "give USER/NAME"}.items():
        with pytest.raises(InputError, match=message):
            check_repository(repository)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match="--push: no token of the Hugging Face hub; `hf auth login`"):
        exported(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="--push: HF_HUB_OFFLINE is set"):
        exported(tmp_path)
    assert not (tmp_path / "out").exists()


IN_A_FRESH_PROCESS = """
import sys
sys.path.append(sys.argv[1])
import importlib.util
assert importlib.util.find_spec("cosmos") is None
import open_clip, torch
images, tokens = torch.load(sys.argv[2])
embeddings = []
for address in sys.argv[4:]:
    model, _, preprocess = open_clip.create_model_and_transforms(address)
    with torch.no_grad():
        embeddings.append([model.eval().encode_image(images), model.encode_text(tokens)])
torch.save(embeddings, sys.argv[3])
assert not any(name.split(".")[0] == "cosmos" for name in sys.modules)
"""
"""Program of somebody who has open_clip, and not this software."""


@pytest.mark.slow
def test_whoever_has_open_clip_alone_computes_the_same_embeddings_from_the_folder_and_from_the_hub(
    tmp_path: Path, hub: Hub
) -> None:
    student, teacher = CONFIG.build(), CONFIG.build()
    write_checkpoint(tmp_path / "c.pt", student, teacher, CONFIG)
    folder = exported(tmp_path)
    export_model(str(tmp_path / "c.pt"), tmp_path / "student", Publication("student"), Machine(), quiet=True)
    images, tokens = torch.randn(2, 3, 32, 32), torch.tensor([[62, 5, 63] + [0] * 9])
    torch.save([images, tokens], tmp_path / "inputs.pt")
    addresses = [f"local-dir:{tmp_path / 'student'}", f"local-dir:{folder}", f"hf-hub:{REPOSITORY}"]
    packages, files = sysconfig.get_path("purelib"), [tmp_path / "inputs.pt", tmp_path / "outputs.pt"]
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    program = [sys.executable, "-I", "-S", "-c", IN_A_FRESH_PROCESS]
    subprocess.run([*program, packages, *files, *addresses], check=True, cwd=tmp_path, env=environment)
    for model, outputs in zip((student, teacher, teacher), torch.load(files[1]), strict=True):
        model.eval()
        with torch.no_grad():
            assert torch.equal(outputs[0], CLIP.encode_image(model, images))
            assert torch.equal(outputs[1], CLIP.encode_text(model, tokens))
