import os
from pathlib import Path

import pytest

from cosmos.errors import InputError, TransientError
from cosmos.model import checkpoints
from cosmos.model.checkpoint_reference import (
    CheckpointReference,
    DvcReference,
    FileReference,
    OpenClipReference,
    PublishedReference,
    parse_checkpoint_reference,
)
from tests.model.examples import written
from tests.workspaces import commit, git


@pytest.mark.parametrize(
    ("text", "kind", "name", "label"),
    [
        ("runs/a/step-1.pt", FileReference, "step-1", "runs-a-step-1.pt"),
        ("./a:b.pt", FileReference, "a:b", "a-b.pt"),
        (
            "published:cosmos_vitb16_cc3m",
            PublishedReference,
            "cosmos_vitb16_cc3m",
            "published-cosmos_vitb16_cc3m",
        ),
        (
            "open_clip:ViT-B-32:openai",
            OpenClipReference,
            "open_clip:ViT-B-32:openai",
            "open_clip-ViT-B-32-openai",
        ),
        ("dvc:HEAD~1:made/model.pt", DvcReference, "model", "dvc-HEAD-1-made-model.pt"),
    ],
)
def test_a_reference_is_of_a_kind_and_names_files(
    text: str, kind: type[CheckpointReference], name: str, label: str
) -> None:
    reference = parse_checkpoint_reference(text)
    assert type(reference) is kind
    assert (reference.text, reference.name, reference.label) == (text, name, label)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hub:cosmos", "no kind .* 'hub'; there are: published, open_clip, dvc; a file .* ./hub:cosmos"),
        ("published:cosmos_vitl14", "no such published checkpoint; near it: cosmos_vitb16_cc3m"),
        ("published:vitb32_cc12m", "no such published checkpoint; near it: .*cosmos_vitb32_cc12m"),
        ("open_clip:ViT-B-32", "write open_clip:<architecture>:<tag>"),
        ("dvc:HEAD", "expected dvc:REV:PATH"),
        ("dvc:c.pt", "expected dvc:REV:PATH"),
        ("dvc:HEAD:/etc/passwd", "expected dvc:REV:PATH"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_form_that_would_do(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_checkpoint_reference(text)


def test_a_missing_file_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such checkpoint; .*cosmos_vitb32_pixelprose"):
        parse_checkpoint_reference(str(tmp_path / "none.pt")).fetch(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["checkpoints/step-00000003.pt", "checkpoints/step-00000006.pt"],
            r"of this run is .+/step-00000006\.pt",
        ),
        ([".metadata", "__0_0.distcp"], r"join its shards: python -m torch\.distributed\.checkpoint"),
        (["mp_rank_00_model_states.pt"], r"join DeepSpeed's shards: python zero_to_fp32\.py '.*' '.*\.pt'$"),
        (["b.safetensors", "a.txt"], r"give a file of it, as .+/b\.safetensors"),
        (["a.txt"], "there is no checkpoint in it"),
    ],
)
def test_a_folder_is_refused_with_the_way_to_a_file(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / "it's $HOME" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "it's $HOME" / name).touch()
    with pytest.raises(InputError, match=f"a folder, not a file; .*{message}"):
        parse_checkpoint_reference(str(tmp_path / "it's $HOME")).fetch(tmp_path)


def test_a_pipe_in_place_of_a_checkpoint_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.pt")
    with pytest.raises(InputError, match=r"c\.pt: a pipe or a device"):
        parse_checkpoint_reference(str(tmp_path / "c.pt")).fetch(tmp_path)


def test_a_published_name_is_found_in_the_hub_cache(tmp_path: Path) -> None:
    repository = tmp_path / "models--sankim2--cosmos"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    written(snapshot).rename(snapshot / "cosmos_vitb16_cc3m.pt")
    path = parse_checkpoint_reference("published:cosmos_vitb16_cc3m").fetch(tmp_path)
    assert checkpoints.read_checkpoint(path).extra["epoch"] == 3


def test_a_checkpoint_as_it_was_at_a_revision_is_kept_below_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkout" / ".dvc").mkdir(parents=True)
    written(tmp_path / "checkout")
    git(tmp_path / "checkout", "init", "--quiet")
    commit(tmp_path / "checkout")
    monkeypatch.chdir(tmp_path / "checkout")
    (tmp_path / "checkout" / "c.pt").unlink()
    path = parse_checkpoint_reference("dvc:HEAD:c.pt").fetch(tmp_path / "cache")
    assert path.parent == tmp_path / "cache" / "dvc"
    assert checkpoints.read_checkpoint(path).extra["epoch"] == 3


def test_a_hub_that_cannot_be_reached_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="give a local file"):
        parse_checkpoint_reference("published:cosmos_vitb16_cc3m").fetch(tmp_path)
