"""A preparation that is killed at any moment, beside another one, or without space on the disk."""

import logging
import multiprocessing
import re
import shutil
import socket
import subprocess
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from cosmos.config.machine import Machine
from cosmos.config.params import DataParams
from cosmos.data.preparation import prepare_dataset
from cosmos.errors import TransientError
from tests.crash_points import killed_at_each_operation
from tests.data.examples import flickr8k, machine
from tests.disks import small_disk


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_preparation_that_is_killed_at_any_moment_is_completed_by_the_same_command(tmp_path: Path) -> None:
    here, params = machine(tmp_path), flickr8k(tmp_path, number=3, num_heldout=1)

    def prepare() -> None:
        prepare_dataset(params, here, processes=1)

    prepare()
    whole = contents(here.data_root)
    shutil.rmtree(here.data_root)
    for number in killed_at_each_operation(prepare, tmp_path):
        prepare()
        assert contents(here.data_root) == whole, f"killed before operation {number}"
        shutil.rmtree(here.data_root)


def test_what_a_killed_preparation_left_before_it_described_itself_is_gone_on_with(tmp_path: Path) -> None:
    here, params = machine(tmp_path), flickr8k(tmp_path)
    folder = here.data_root / params.name
    folder.mkdir(parents=True)
    (folder / f".params.json.{socket.gethostname()}.999999.tmp").write_text("{")
    (folder / ".preparing").write_text("{")
    prepare_dataset(params, here, processes=1)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


together = multiprocessing.get_context("fork").Barrier(3)
"""Barrier at which three processes begin together."""


def prepared(params: DataParams, here: Machine) -> list[str]:
    """Prepare a dataset beside two other processes; return what is logged."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("cosmos").addHandler(handler)
    together.wait(timeout=60)
    prepare_dataset(params, here, processes=1)
    return messages


def test_of_processes_that_prepare_the_same_dataset_one_does_and_the_others_wait(tmp_path: Path) -> None:
    here, params = machine(tmp_path), flickr8k(tmp_path, number=400)
    with ProcessPoolExecutor(3, multiprocessing.get_context("fork")) as pool:
        logged = [line for lines in pool.map(prepared, [params] * 3, [here] * 3) for line in lines]
    assert logged
    waiting = rf".*/data/things: is being prepared by process \d+ on {socket.gethostname()}; waiting for it"
    assert all(re.fullmatch(waiting, line) for line in logged)
    whole = contents(here.data_root)
    shutil.rmtree(here.data_root)
    prepare_dataset(params, here, processes=1)
    assert contents(here.data_root) == whole


@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_disk_is_told_with_what_is_kept_and_the_same_command_goes_on(
    processes: int, tmp_path: Path
) -> None:
    here, params = machine(tmp_path), flickr8k(tmp_path, number=40)
    with small_disk(here.data_root, "size=150k"):
        with pytest.raises(TransientError) as caught:
            prepare_dataset(params, here, processes)
        subprocess.run(["mount", "-o", "remount,size=10m", str(here.data_root)], check=True)
        before = contents(here.data_root)
        prepare_dataset(params, here, processes=1)
        whole = contents(here.data_root)
    shard = r"shard-0\d{4}\.(tar|idx\.npz|json)"
    assert re.fullmatch(
        rf"{here.data_root}/things/train/{shard}: No space left on device; free space .*"
        r"; [1-9] of 20 shards are prepared, and kept",
        str(caught.value),
    )
    assert {name: whole[name] for name in before} == before
    prepare_dataset(params, here, processes=1)
    assert contents(here.data_root) == whole
