import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cosmos.config.params import DataParams
from cosmos.data import preparation
from cosmos.data.demo_world import evaluation_sets
from cosmos.data.manifest import Manifest
from cosmos.data.preparation import prepare_dataset
from cosmos.data.sample import Sample
from cosmos.data.shards import tasks
from cosmos.data.shards.samples import ShardedSamples
from cosmos.data.shards.tasks import ShardOutcome, ShardTask
from cosmos.data.sources.inputs import OpenedSource
from cosmos.data.sources.openers import DemoImage
from cosmos.errors import CosmosError, DamagedDataError, InputError, TransientError
from tests.data.examples import flickr8k, image_bytes, machine
from tests.data.shards.test_index import make_tar

KINDS = ("jpg", "txt")


def read_all(folder: Path, split: str = "train", name: str = "things") -> list[Sample]:
    settings = machine(folder)
    shards = ShardedSamples(settings.dataset(name, split), settings)
    return [shards.read(i) for i in range(len(shards))]


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[ShardTask]:
    """The tasks that are done in this process from here on."""
    done: list[ShardTask] = []
    original = tasks.run_task

    def run_task(task: ShardTask) -> ShardOutcome:
        done.append(task)
        return original(task)

    monkeypatch.setattr("cosmos.data.shards.task_processes.run_task", run_task)
    return done


def test_every_input_is_in_one_shard_of_one_split(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, number=7, num_heldout=2)
    manifests = prepare_dataset(params, machine(tmp_path), processes=1)
    assert {split: [s.num_samples for s in m.shards] for split, m in manifests.items()} == {
        "train": [2, 2, 1],
        "heldout": [2],
    }
    everything = read_all(tmp_path) + read_all(tmp_path, "heldout")
    assert sorted(sample.key for sample in everything) == [str(i) for i in range(7)]
    for sample in everything:
        assert sample.image == image_bytes(int(sample.key))
        assert sample.annotation["captions"] == [f"A thing , number {sample.key}.jpg", "A thing"]


def test_the_manifest_says_what_is_in_the_shards_and_where_it_comes_from(tmp_path: Path) -> None:
    params = flickr8k(tmp_path)
    manifest = prepare_dataset(params, machine(tmp_path), processes=1)["train"]
    folder = machine(tmp_path).dataset("things", "train")
    assert Manifest.read(folder) == manifest
    assert manifest.schema == "captions"
    assert DataParams.model_validate(manifest.source) == params
    for shard in manifest.shards:
        content = (folder / shard.path).read_bytes()
        assert (shard.num_bytes, shard.sha256) == (len(content), sha256(content).hexdigest())


def test_several_processes_write_the_same_files_as_one(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, num_heldout=2)
    prepare_dataset(params, machine(tmp_path), processes=1)
    alone = hashes(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    prepare_dataset(params, machine(tmp_path), processes=2)
    assert hashes(tmp_path / "data") == alone


def test_the_same_data_gives_the_same_files_wherever_and_whenever_it_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = machine(tmp_path / "here"), machine(tmp_path / "there")
    params = flickr8k(tmp_path / "here", max_skipped=0.6, max_pixels=10_000, num_heldout=4)
    damage(tmp_path / "here")
    with (here.source_root / "captions.csv").open("a") as file:
        file.write("../outside.jpg,a thing\n")
    prepare_dataset(params, here, processes=1)
    elsewhere = tmp_path / "another source" / "of images"
    elsewhere.parent.mkdir()
    here.source_root.rename(elsewhere)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    prepare_dataset(params, there.model_copy(update={"source_root": elsewhere}), processes=1)
    assert hashes(there.data_root) == hashes(here.data_root)
    for path in here.data_root.rglob("*.json"):
        assert str(tmp_path) not in path.read_text()


@pytest.mark.slow
def test_the_demo_world_is_the_same_wherever_it_is_prepared(tmp_path: Path) -> None:
    demo = {"num_train": 3, "num_heldout": 2, "image_size": 32}
    params = DataParams.model_validate({"name": "demo", "demo": demo})
    for name in ("here", "there"):
        prepare_dataset(params, machine(tmp_path / name), processes=1)
    assert hashes(tmp_path / "here") == hashes(tmp_path / "there")


PIXEL = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
)


def test_shards_are_the_bytes_that_the_first_version_wrote(tmp_path: Path) -> None:
    images = tmp_path / "source" / "images"
    for folder in ("", "d", "d/e"):
        (images / folder).mkdir(parents=True, exist_ok=True)
        for name in ("a", "b c", "A-1", "é", "e\u0301x", "Größe m²", "x.y", "n" * 90):
            (images / folder / f"{name}.png").write_bytes(PIXEL)
            (images / folder / f"{name}.txt").write_text(f"{folder} {name!a}\nmore")
    params = DataParams(name="things", source="folder", images="images", samples_per_shard=9, num_heldout=5)
    prepare_dataset(params, machine(tmp_path), processes=1)
    tars = sorted((tmp_path / "data" / "things").glob("*/*.tar"))
    digest = sha256(b"".join(path.read_bytes() for path in tars)).hexdigest()
    assert digest[:16] == "337b19f075a03ae1"


def test_a_finished_dataset_is_returned_at_once_even_when_its_source_is_gone(tmp_path: Path) -> None:
    params = flickr8k(tmp_path)
    manifests = prepare_dataset(params, machine(tmp_path), processes=1)
    before = hashes(tmp_path / "data")
    (tmp_path / "source").rename(tmp_path / "gone")
    assert prepare_dataset(params, machine(tmp_path), processes=1) == manifests
    assert hashes(tmp_path / "data") == before


def test_only_shards_that_are_missing_or_damaged_are_written_again(
    tmp_path: Path, done: list[ShardTask]
) -> None:
    params = flickr8k(tmp_path, number=10, num_heldout=2)
    prepare_dataset(params, machine(tmp_path), processes=1)
    before, folder = hashes(tmp_path / "data"), tmp_path / "data" / "things"
    (folder / "train" / "shard-00000.tar").unlink()
    os.truncate(folder / "train" / "shard-00001.tar", 100)
    (folder / "train" / "shard-00002.idx.npz").unlink()
    (folder / "heldout" / "manifest.json").unlink()
    done.clear()
    prepare_dataset(params, machine(tmp_path), processes=1)
    assert sorted(task.shard for task in done) == [f"shard-0000{i}.tar" for i in range(3)]
    assert hashes(tmp_path / "data") == before


RUN = """
import sys
from pathlib import Path
from cosmos.data.preparation import prepare_dataset
from cosmos.config.params import DataParams
from tests.data.examples import machine

if __name__ == "__main__":
    prepare_dataset(DataParams.model_validate_json(sys.argv[2]), machine(Path(sys.argv[1])), processes=2)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, number=2000, samples_per_shard=20)
    script, train = tmp_path / "script.py", tmp_path / "data" / "things" / "train"
    script.write_text(RUN)
    process = subprocess.Popen(
        [sys.executable, script, tmp_path, params.model_dump_json()],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stderr=subprocess.DEVNULL,
    )
    while len(list(train.glob("*.json"))) < 10 and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (train / "manifest.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in train.glob("shard-*.json")}
    assert prepare_dataset(params, machine(tmp_path), processes=1)["train"].num_samples == 2000
    assert sorted(int(sample.key) for sample in read_all(tmp_path)) == list(range(2000))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_shards_of_other_inputs_are_not_taken_over(tmp_path: Path, done: list[ShardTask]) -> None:
    params = flickr8k(tmp_path, number=4)
    prepare_dataset(params, machine(tmp_path), processes=1)
    (tmp_path / "data" / "things" / "train" / "manifest.json").unlink()
    done.clear()
    prepare_dataset(flickr8k(tmp_path, number=5), machine(tmp_path), processes=1)
    assert sorted(sample.key for sample in read_all(tmp_path)) == list("01234")
    assert done


def test_what_was_prepared_before_its_source_changed_is_prepared_again(
    tmp_path: Path, done: list[ShardTask]
) -> None:
    params = flickr8k(tmp_path, number=4)
    captions, train = tmp_path / "source" / "captions.csv", tmp_path / "data" / "things" / "train"
    prepare_dataset(params, machine(tmp_path), processes=1)
    (train / "manifest.json").unlink()
    captions.write_text(captions.read_text().replace("A thing , number 2.jpg", "A thing , letter 2.jpg"))
    for seconds in (60, -60):  # it was edited after the preparation began, and then no more
        os.utime(train.parent / "source.json", (time.time() - seconds,) * 2)
        done.clear()
        prepare_dataset(params, machine(tmp_path), processes=1)
        (train / "manifest.json").unlink()
        assert len(done) == (2 if seconds > 0 else 0)
    prepare_dataset(params, machine(tmp_path), processes=1)
    assert {"A thing , letter 2.jpg"} < {s.annotation["captions"][0] for s in read_all(tmp_path)}


def test_a_dataset_that_lost_shards_is_not_replaced_by_one_of_another_source(tmp_path: Path) -> None:
    prepare_dataset(flickr8k(tmp_path, number=4), machine(tmp_path), processes=1)
    folder = tmp_path / "data" / "things"
    (folder / "train" / "shard-00000.tar").unlink()
    before = hashes(folder)
    grown = flickr8k(tmp_path, number=5)
    with pytest.raises(
        InputError, match=r"things: lacks files that it had, .*6 files of .* now, 5 files of .* then"
    ):
        prepare_dataset(grown, machine(tmp_path), processes=1)
    assert hashes(folder) == before


def test_nothing_is_left_of_killed_preparations_and_of_other_sources(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, number=8)
    prepare_dataset(params, machine(tmp_path), processes=1)
    train = tmp_path / "data" / "things" / "train"
    (train / "manifest.json").unlink()
    names = [path.name for path in (tmp_path / "source" / "images").iterdir()]
    for name in names[4:]:
        (tmp_path / "source" / "images" / name).unlink()
    killed = subprocess.Popen(["true"])
    killed.wait()
    left, other = (
        train / f".shard-00009.tar.{socket.gethostname()}.{pid}.tmp" for pid in (killed.pid, os.getpid())
    )
    left.touch()
    other.touch()
    rows = [f"{name},a thing" for name in sorted(names[:4])]
    (tmp_path / "source" / "captions.csv").write_text("\n".join(["image,caption", *rows]))
    prepare_dataset(params, machine(tmp_path), processes=1)
    other.unlink()
    stems = [f"shard-0000{i}" for i in range(2)]
    expected = [f"{stem}.{suffix}" for stem in stems for suffix in ("idx.npz", "json", "tar")]
    assert sorted(path.name for path in train.iterdir()) == ["manifest.json", *expected]


def test_a_source_that_is_unmounted_meanwhile_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = flickr8k(tmp_path, number=4, max_skipped=1.0)
    images = tmp_path / "source" / "images"

    def unmount(*arguments: Any) -> Any:
        images.rename(tmp_path / "away")
        images.mkdir()
        return plan(*arguments)

    plan = preparation._do_all
    monkeypatch.setattr(preparation, "_do_all", unmount)
    with pytest.raises(TransientError, match=r"source/images: is gone, or empty; mount it again"):
        prepare_dataset(params, machine(tmp_path), processes=1)
    monkeypatch.undo()
    images.rmdir()
    (tmp_path / "away").rename(images)
    assert prepare_dataset(params, machine(tmp_path), processes=1)["train"].num_samples == 4


def test_other_parameters_for_the_same_folder_are_refused(tmp_path: Path) -> None:
    prepare_dataset(flickr8k(tmp_path), machine(tmp_path), processes=1)
    with pytest.raises(
        ValueError,
        match=r"things: was prepared from other parameters \(data.num_heldout: 0 -> 1, data.seed: 0 -> 3\); "
        "delete .* or choose another data.name",
    ):
        prepare_dataset(flickr8k(tmp_path, seed=3, num_heldout=1), machine(tmp_path), processes=1)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_record_of_parameters_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data" / "things" / "params.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(DamagedDataError, match=r"params.json: not a record of parameters .*delete .*things"):
        prepare_dataset(flickr8k(tmp_path), machine(tmp_path), processes=1)


@pytest.mark.parametrize("content", ["", None])
def test_a_record_of_parameters_that_was_lost_is_written_from_the_manifest(
    tmp_path: Path, content: str | None
) -> None:
    manifests = prepare_dataset(flickr8k(tmp_path), machine(tmp_path), processes=1)
    path = tmp_path / "data" / "things" / "params.json"
    record = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"was prepared from other parameters \(data.seed: 0 -> 3\)"):
        prepare_dataset(flickr8k(tmp_path, seed=3), machine(tmp_path), processes=1)
    assert prepare_dataset(flickr8k(tmp_path), machine(tmp_path), processes=1) == manifests
    assert path.read_bytes() == record


def test_parameters_that_decide_nothing_may_change(tmp_path: Path) -> None:
    manifests = prepare_dataset(flickr8k(tmp_path), machine(tmp_path), processes=1)
    changed = flickr8k(tmp_path, max_skipped=0.5, demo={"num_train": 3})
    assert prepare_dataset(changed, machine(tmp_path), processes=1) == manifests


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "data" / "things" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.touch()
    with pytest.raises(ValueError, match=r"things: holds thesis.txt, but no params.json"):
        prepare_dataset(flickr8k(tmp_path), machine(tmp_path), processes=1)


def damage(folder: Path) -> None:
    """Six faults beside the six good images of `flickr8k(folder)`."""
    images, captions = folder / "source" / "images", folder / "source" / "captions.csv"
    whole = image_bytes(size=(100, 100))
    faults = {
        "empty.jpg": b"",
        "cut.jpg": whole[: len(whole) // 2],
        "text.jpg": b"no image",
        "huge.jpg": image_bytes(size=(100, 101)),
        "silent.jpg": image_bytes(),
    }
    for name, content in faults.items():
        (images / name).write_bytes(content)
    with captions.open("a") as file:
        file.writelines(
            f"{name},{'' if name == 'silent.jpg' else 'a thing'}\n" for name in [*faults, "gone\x1b[31m.jpg"]
        )


def test_inputs_that_cannot_be_used_are_skipped_and_listed_with_reasons(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, max_skipped=0.5, max_pixels=10_000, num_heldout=4)
    damage(tmp_path)
    manifests = prepare_dataset(params, machine(tmp_path), processes=1)
    assert sum(manifest.num_samples for manifest in manifests.values()) == 6
    reasons = {
        Path(entry.input).name: entry.reason for manifest in manifests.values() for entry in manifest.skipped
    }
    expected = {
        "empty.jpg": "cannot be decoded",
        "cut.jpg": "truncated",
        "text.jpg": "cannot be decoded",
        "huge.jpg": "100 x 101 pixels; data.max_pixels allows 10000",
        "silent.jpg": "no captions",
        "gone\x1b[31m.jpg": "No such file",
    }
    assert reasons.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in reasons[name]


def test_names_that_are_no_utf8_are_listed_with_escapes(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, max_skipped=0.5).model_copy(update={"source": "folder", "annotations": ""})
    images = tmp_path / "source" / "images"
    for path in list(images.iterdir()):
        path.with_suffix(".txt").write_text("a thing")
    odd = Path(os.fsdecode(os.fsencode(images / "caf") + b"\xe9.jpg"))
    odd.write_bytes(image_bytes(7))
    skipped = prepare_dataset(params, machine(tmp_path), processes=1)["train"].skipped
    assert [entry.input for entry in skipped] == ["images/caf\\udce9.jpg"]
    odd.with_suffix(".txt").write_text("a thing")
    again = params.model_copy(update={"name": "again"})
    assert prepare_dataset(again, machine(tmp_path), processes=1)["train"].num_samples == 7


def test_too_many_skipped_inputs_fail_and_a_larger_share_goes_on_from_there(
    tmp_path: Path, done: list[ShardTask]
) -> None:
    params = flickr8k(tmp_path, max_skipped=0.49, max_pixels=10_000)
    damage(tmp_path)
    with pytest.raises(ValueError, match=r"6 of 12 inputs \(50.0%\) cannot be used") as failure:
        prepare_dataset(params, machine(tmp_path), processes=1)
    folder = tmp_path / "data" / "things"
    assert "\x1b" not in str(failure.value)
    assert str(folder / "skipped.json") in str(failure.value)
    assert len(json.loads((folder / "skipped.json").read_text())) == 6
    assert not (folder / "train" / "manifest.json").exists()
    done.clear()
    larger = params.model_copy(update={"max_skipped": 0.5})
    assert prepare_dataset(larger, machine(tmp_path), processes=1)["train"].num_samples == 6
    assert done == []
    assert not (folder / "skipped.json").exists()


def test_a_shard_without_any_usable_sample_is_not_in_the_manifest(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, samples_per_shard=1, max_skipped=0.5)
    (tmp_path / "source" / "images" / "3.jpg").unlink()
    manifest = prepare_dataset(params, machine(tmp_path), processes=1)["train"]
    assert [shard.num_samples for shard in manifest.shards] == [1] * 5


def test_a_dataset_without_any_usable_sample_is_refused(tmp_path: Path) -> None:
    params = flickr8k(tmp_path, number=2, max_skipped=1.0)
    for path in (tmp_path / "source" / "images").iterdir():
        path.rename(path.with_suffix(".bak"))
    with pytest.raises(ValueError, match=r"train: no sample in it"):
        prepare_dataset(params, machine(tmp_path), processes=1)


def test_images_with_the_same_name_in_two_folders_keep_apart(tmp_path: Path) -> None:
    images = tmp_path / "source" / "images"
    for folder in ("a", "a_b"):
        (images / folder).mkdir(parents=True)
    for number, name in enumerate(("a/b_c", "a_b/c", "a_b_c")):
        (images / f"{name}.jpg").write_bytes(image_bytes(number))
        (images / f"{name}.txt").write_text(str(number))
    params = DataParams(name="things", source="folder", images="images")
    prepare_dataset(params, machine(tmp_path), processes=1)
    contents = {sample.key: (sample.image, sample.annotation["captions"]) for sample in read_all(tmp_path)}
    assert contents.keys() == {"a_b_c", "a_b_c-2", "a_b_c-3"}
    assert all(image == image_bytes(int(caption)) for image, [caption] in contents.values())


def test_shards_that_exist_are_indexed_where_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "shards"
    folder.mkdir(parents=True)
    for number in range(3):
        members: list[tuple[str, bytes]] = []
        for key in ("0", "1"):
            members += [
                (f"{key}.jpg", image_bytes(10 * number + int(key))),
                (f"{key}.json", json.dumps({"caption": f"{number} {key}", "url": "u"}).encode()),
            ]
        make_tar(folder / f"{number}.tar", members)
    before = hashes(folder)
    params = DataParams(name="things", source="shards", annotations="shards/{0..2}.tar")
    manifests = prepare_dataset(params, machine(tmp_path), processes=2)
    assert list(manifests) == ["train"]
    read = {sample.key: sample for sample in read_all(tmp_path)}
    assert list(read) == ["00000-0", "00000-1", "00001-0", "00001-1", "00002-0", "00002-1"]
    assert read["00002-1"] == Sample("00002-1", image_bytes(21), {"captions": ["2 1"]})
    assert hashes(folder) == before
    assert not list((tmp_path / "data").rglob("*.tar"))


def test_broken_shards_are_counted_among_shards_since_their_samples_cannot_be(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "shards"
    folder.mkdir(parents=True)
    for number in range(3):
        members = [
            (f"{i}.{kind}", image_bytes(i) if kind == "jpg" else b"x") for i in range(20) for kind in KINDS
        ]
        make_tar(folder / f"{number}.tar", members)
    os.truncate(folder / "2.tar", 700)
    params = DataParams(name="things", source="shards", annotations="shards/*.tar")
    with pytest.raises(
        DamagedDataError, match=r"1 of 3 shards \(33.3%\) cannot be used.*\n  \S*2.tar: not a whole"
    ):
        prepare_dataset(params, machine(tmp_path), processes=1)
    lenient = params.model_copy(update={"max_skipped": 0.4})
    assert prepare_dataset(lenient, machine(tmp_path), processes=1)["train"].num_samples == 40


def test_prepared_shards_are_a_source_themselves(tmp_path: Path) -> None:
    prepare_dataset(flickr8k(tmp_path), machine(tmp_path), processes=1)
    pattern = str(tmp_path / "data" / "things" / "train" / "*.tar")
    params = DataParams(name="again", source="shards", annotations=pattern)
    prepare_dataset(params, machine(tmp_path), processes=1)
    first, again = read_all(tmp_path), read_all(tmp_path, name="again")
    assert [sample.image for sample in again] == [sample.image for sample in first]
    assert [sample.annotation for sample in again] == [sample.annotation for sample in first]


def test_a_source_s_error_stops_before_anything_is_written(tmp_path: Path) -> None:
    params = flickr8k(tmp_path).model_copy(update={"annotations": "nothing.csv"})
    with pytest.raises(ValueError, match=r"nothing.csv: cannot be read"):
        prepare_dataset(params, machine(tmp_path), processes=1)
    assert not (tmp_path / "data" / "things").exists()


def be_killed(item: DemoImage) -> Sample:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(item)


def test_a_process_that_is_killed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = OpenedSource("captions", {"train": [DemoImage("train", index) for index in range(4)]}, be_killed)
    monkeypatch.setattr("cosmos.data.preparation.open_source", lambda *_: source)
    with pytest.raises(CosmosError, match=r"was killed, .*run again .*finished shards are kept"):
        prepare_dataset(flickr8k(tmp_path), machine(tmp_path), processes=2)


def fail_to_read(item: DemoImage) -> Sample:
    raise TransientError(f"{item.name}: the disk is away")


def fill_the_disk(item: DemoImage) -> Sample:
    raise OSError(errno.ENOSPC, f"no space for {item.name}")


@pytest.mark.parametrize(("read", "processes"), [(fail_to_read, 1), (fill_the_disk, 1), (fill_the_disk, 2)])
def test_a_disk_that_fails_is_worth_another_try_and_no_damage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[DemoImage], Sample],
    processes: int,
) -> None:
    source = OpenedSource("captions", {"train": [DemoImage("train", index) for index in range(4)]}, read)
    monkeypatch.setattr("cosmos.data.preparation.open_source", lambda *_: source)
    with pytest.raises(TransientError, match=r"demo train \d"):
        prepare_dataset(flickr8k(tmp_path, max_skipped=1.0), machine(tmp_path), processes=processes)
    assert not (tmp_path / "data" / "things" / "train" / "manifest.json").exists()


def test_the_demo_world_has_both_splits_and_evaluation_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_sets, "NUM_PER_FILE", 4)
    params = DataParams.model_validate(
        {"name": "demo", "demo": {"num_train": 4, "num_heldout": 2, "image_size": 32}}
    )
    manifests = prepare_dataset(params, machine(tmp_path), processes=1)
    assert {split: manifest.num_samples for split, manifest in manifests.items()} == {
        "train": 4,
        "heldout": 2,
    }
    assert any((tmp_path / "data" / "demo" / "evaluation").iterdir())
    assert read_all(tmp_path, name="demo")[0].annotation["raw_caption"]


def test_names_that_no_record_can_hold_are_refused(tmp_path: Path) -> None:
    here, name = machine(tmp_path), os.fsdecode(b"\xff")
    folder = DataParams(name="things", source="folder", images=name)
    here.source_root.mkdir()
    make_tar(here.source_root / f"{name}.tar", [("0.jpg", image_bytes(0)), ("0.txt", b"a thing")])
    shards = DataParams(name="things", source="shards", annotations="*.tar")
    for params, problem in ((folder, r"data\.images: \\udcff is"), (shards, r"\*\.tar: .*\\udcff\.tar is")):
        with pytest.raises(InputError, match=rf"{problem} not UTF-8; rename the file or folder"):
            prepare_dataset(params, here, processes=1)
