"""A dataset for a pipeline: when it is made, resumed and replaced."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cosmos.config.params import Params
from cosmos.data.manifest import Manifest
from cosmos.errors import InputError
from cosmos.pipeline.directory import PIPELINE, list_pipelines
from cosmos.pipeline.prepare import prepare_into
from tests.crash_points import killed_at_each_operation
from tests.data.examples import flickr8k, machine
from tests.data.test_interrupted_preparation import contents
from tests.forks import run_dvc


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a workspace of one's own, with neither processes nor a preview, which take long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cosmos.data.preparation.MAX_PROCESSES", 1)
    monkeypatch.setattr("cosmos.stages.prepare.contact_sheet", lambda *_: Image.new("RGB", (1, 1)))


def test_a_dataset_for_a_pipeline_appears_whole_and_replaces_another(tmp_path: Path) -> None:
    here, output = machine(tmp_path), tmp_path / "pipeline" / "data"
    left = tmp_path / "pipeline" / ".data-01234567"
    left.mkdir(parents=True)
    for seed in (1, 2):
        data = flickr8k(tmp_path).model_copy(update={"seed": seed})
        made = prepare_into(output, Params(data=data), here, quiet=True)
        assert Manifest.read(output / data.name / "train").source["seed"] == seed
    assert made["train"]["manifest"] == str(output / "things" / "train" / "manifest.json")
    assert sorted(path.name for path in output.parent.iterdir()) == ["data", "data.state"]


def test_a_dataset_for_a_pipeline_whose_source_grew_is_made_anew_and_said_to_be_new(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, output = machine(tmp_path), tmp_path / "pipeline" / "data"
    for number in (6, 9):
        prepare_into(output, Params(data=flickr8k(tmp_path, number=number)), here)
        assert f"train: {number} samples" in (printed := capsys.readouterr().out)
        assert "before" not in printed
    prepare_into(output, Params(data=flickr8k(tmp_path, number=9)), here)


def test_a_damaged_state_is_no_state_and_the_dataset_is_made_again(tmp_path: Path) -> None:
    here, output = machine(tmp_path), tmp_path / "pipeline" / "data"
    params = Params(data=flickr8k(tmp_path))
    prepare_into(output, params, here, quiet=True)
    state = output.with_name("data.state")
    whole = state.read_bytes()
    state.write_bytes(whole[:9] + b"\xb9" + whole[10:])
    prepare_into(output, params, here, quiet=True)
    assert state.read_bytes() == whole


def test_an_interrupted_preparation_for_a_pipeline_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, output = machine(tmp_path), tmp_path / "pipeline" / "data"
    params = Params(data=flickr8k(tmp_path))

    def cut_power(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cosmos.pipeline.prepare.replace_folder", cut_power)
        with pytest.raises(KeyboardInterrupt):
            prepare_into(output, params, here, quiet=True)
    (work,) = output.parent.glob(".data-*")
    shard = work / "things" / "train" / "shard-00000.tar"
    inode = shard.stat().st_ino
    prepare_into(output, params, here, quiet=True)
    assert (output / "things" / "train" / "shard-00000.tar").stat().st_ino == inode


@pytest.mark.slow
def test_a_preparation_for_a_pipeline_that_is_killed_at_any_moment_is_completed_by_the_same_command(
    tmp_path: Path,
) -> None:
    here, output = machine(tmp_path), tmp_path / "pipeline" / "data"
    before, params = (Params(data=flickr8k(tmp_path, number=2, seed=seed)) for seed in (0, 3))
    prepare_into(output, before, here, quiet=True)
    shutil.copytree(output.parent, tmp_path / "before")
    prepare_into(output, params, here, quiet=True)
    whole = contents(output.parent)
    shard = (output / "things" / "train" / "shard-00000.tar").read_bytes()
    (tmp_path / "before" / ".data-01234567").mkdir()
    restore = partial(shutil.copytree, tmp_path / "before", output.parent)
    shutil.rmtree(output.parent)
    restore()
    for number in killed_at_each_operation(lambda: prepare_into(output, params, here, quiet=True), tmp_path):
        made = inodes_of(shard, output)
        prepare_into(output, params, here, quiet=True)
        assert contents(output.parent) == whole, f"killed before operation {number}"
        assert [path.name for path in output.parent.iterdir() if path.name.startswith(".")] == []
        assert made <= inodes_of(shard, output), f"made again, killed before operation {number}"
        shutil.rmtree(output.parent)
        restore()


def inodes_of(content: bytes, folder: Path) -> set[int]:
    """Return the inodes of the shards below a folder that hold this content."""
    shards = [path for path in folder.rglob("shard-*.tar") if path.read_bytes() == content]
    return {path.stat().st_ino for path in shards}


def test_a_dataset_that_dvc_could_not_take_over_is_not_made_again_and_one_that_it_did_is(
    tmp_path: Path,
) -> None:
    here, output = machine(tmp_path), tmp_path / "pipeline" / "data"
    shard = output / "things" / "train" / "shard-00000.tar"
    params = Params(data=flickr8k(tmp_path))
    prepare_into(output, params, here, quiet=True)
    inode = shard.stat().st_ino
    prepare_into(output, params, here, quiet=True)
    assert shard.stat().st_ino == inode
    run_dvc(tmp_path, "init", "--no-scm", "--quiet")
    run_dvc(tmp_path, "add", "--quiet", "pipeline/data")
    inode = shard.stat().st_ino
    prepare_into(output, params, here, quiet=True)
    assert shard.stat().st_ino != inode


@pytest.fixture
def pipelines(tmp_path: Path) -> list[Path]:
    """Folders of data of the workspace's pipeline and of two flows."""
    for name in "ab":
        (tmp_path / "pipelines" / name).mkdir(parents=True)
        (tmp_path / "pipelines" / name / "dvc.yaml").touch()
    return [PIPELINE.data, *(pipeline.data for pipeline in list_pipelines()[1:])]


def test_data_that_another_pipeline_has_prepared_is_linked_and_not_prepared_again(
    tmp_path: Path, pipelines: list[Path]
) -> None:
    params = Params(data=flickr8k(tmp_path))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda output: prepare_into(output, params, machine(tmp_path), quiet=True), pipelines))
    shards = [output / "things" / "train" / "shard-00000.tar" for output in pipelines]
    assert len({shard.stat().st_ino for shard in shards}) == 1


def test_data_that_dvc_has_replaced_since_is_not_linked(tmp_path: Path, pipelines: list[Path]) -> None:
    here, params = machine(tmp_path), Params(data=flickr8k(tmp_path))
    first, second, _ = pipelines
    prepare_into(first, params, here, quiet=True)
    other = params.model_copy(update={"data": params.data.model_copy(update={"seed": 9})})
    prepare_into(second, other, here, quiet=True)
    shutil.rmtree(first)
    shutil.copytree(second, first)
    prepare_into(pipelines[2], params, here, quiet=True)
    assert Manifest.read(pipelines[2] / "things" / "train").source["seed"] == params.data.seed


def test_data_of_another_pipeline_is_linked_whole_or_not_at_all(
    tmp_path: Path, pipelines: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    params, scandir = Params(data=flickr8k(tmp_path)), os.scandir
    first, second, _ = pipelines
    prepare_into(first, params, machine(tmp_path), quiet=True)
    hidden = first / "things" / "train"

    def fail(path: Any = ".") -> Any:
        if str(path) == str(hidden):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", fail)
        with pytest.raises(InputError, match="things/train: cannot be listed"):
            prepare_into(second, params, machine(tmp_path), quiet=True)
    shutil.move(first / "things", tmp_path / "elsewhere")
    (first / "things").symlink_to(tmp_path / "elsewhere")
    prepare_into(second, params, machine(tmp_path), quiet=True)
    assert contents(second / "things") == contents(tmp_path / "elsewhere")
    shards = [path / "train" / "shard-00000.tar" for path in (second / "things", tmp_path / "elsewhere")]
    assert shards[0].samefile(shards[1])
