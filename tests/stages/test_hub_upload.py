"""Uploads to a server that speaks the hub's API: what arrives there, and what is said where nothing does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from cosmos.config.machine import Machine
from cosmos.errors import InputError, TransientError
from cosmos.stages.export import Publication, export_model
from cosmos.stages.hub_upload import check_repository, upload_folder
from tests.model.examples import written
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
