"""Readers, called in process on what hypothesis makes of a file: a value, or an error that names the file."""

import json
import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from cosmos.config.experiment import load_recorded_params, read_overlay
from cosmos.config.machine import Machine
from cosmos.config.sweep_loading import load_sweep
from cosmos.data.manifest import Manifest
from cosmos.data.shards.index import ShardIndex
from cosmos.data.shards.tar_entries import scan_tar
from cosmos.data.sources.caption_files import load_json_file, load_text_file, read_captions_csv
from cosmos.errors import CosmosError
from cosmos.evaluation.embedding_cache import read_part
from cosmos.evaluation.value_file import read_image_values
from cosmos.launch.submission import read_submission
from cosmos.model.weight_files import read_weight_file
from cosmos.registry.record import read_run_record
from cosmos.run.directory import RunDir
from cosmos.run.earlier_trials import EarlierTrials
from cosmos.run.labels import RunLabels
from cosmos.run.lease import Lease
from cosmos.run.metrics import last_lines_with, read_metrics
from cosmos.run.model_card import ModelCard
from cosmos.run.provenance_record import read_provenance
from cosmos.run.results import Results
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.tracking.note import MirrorNote
from tests.faults.damage import changed
from tests.faults.tries import Try, draw_file

EXAMPLES = 25
"""Contents of a file in one try."""


NEW = {".yaml": b"workers: 2\n", ".json": b'{"id": "", "project": ""}'}
"""Contents of files that the world does not have."""


def of_run(read: Callable[[RunDir], Any]) -> Callable[[Path], Any]:
    """Return a reader of a file in the folder of a run."""
    return lambda path: read(RunDir(path.parent))


def tolerant(path: Path) -> None:
    """Read the record of a run, which bears the damage of any of its files."""
    run = path.parent.parent if path.parent.name == "results" else path.parent
    read_run_record(RunDir(run), run.name)


READERS: tuple[tuple[str, Callable[[Path], Any]], ...] = (
    ("data/demo/*/manifest.json", lambda path: Manifest.read(path.parent)),
    ("data/demo/*/*.npz", ShardIndex.read),
    ("data/demo/*/*.tar", lambda path: list(scan_tar(path))),
    ("runs/*/params.yaml", load_recorded_params),
    ("runs/*/metrics.jsonl", read_metrics),
    ("runs/*/metrics.jsonl", lambda path: last_lines_with(("loss", "evaluation"), path)),
    ("runs/*/results/*.json", lambda path: Results(path, path.stem).entries()),
    ("runs/*/labels.json", of_run(RunLabels.of)),
    ("runs/*/writer.json", lambda path: Lease(RunDir(path.parent), "token").check()),
    ("runs/*/job.json", read_submission),
    ("runs/*/provenance.json", lambda path: read_provenance(path, "")),
    ("runs/*/wandb.json", of_run(MirrorNote.of)),
    ("runs/*/*.json*", tolerant),
    ("runs/*/results/*.json", tolerant),
    ("runs/*/checkpoints/*.pt", read_weight_file),
    ("runs/*/embeddings/**/*", read_part),
    ("runs/*/trial-*/trial.json", of_run(TrialRecord.of)),
    ("runs/*/like.json", EarlierTrials.of),
    ("runs/*/results/*.npz", read_image_values),
    ("runs/*/sweep.yaml", lambda path: SweepDir(path.parent).sweep()),
    ("pipeline/model/card.json", lambda path: ModelCard.read(path.parent)),
    ("experiments/*.yaml", read_overlay),
    ("experiments/sweeps/*.yaml", lambda path: load_sweep(str(path))),
    ("photos/*.txt", load_text_file),
    ("pipeline/experiment.yaml", read_overlay),
    ("data/demo/*/*.json", load_json_file),
    ("pipeline/curves.csv", read_captions_csv),
    ("machine.yaml", lambda path: Machine()),
)
"""Readers, with the files that they read."""


def attempt(attempt: Try) -> None:
    """Have a reader read a file of the world with contents that are nearly, or not at all, its own."""
    pattern, read = attempt.rng.choice(READERS)
    files = [path for path in attempt.world.path.glob(pattern) if path.is_file() and path.stat().st_size]
    source = draw_file(files, attempt.rng) if files else attempt.world.path / pattern
    path = attempt.place / source.relative_to(attempt.world.path)
    attempt.tell(f"reader of {pattern}: {source.relative_to(attempt.world.path)}")
    copy_beside(source, path)
    content = source.read_bytes() if files else NEW.get(path.suffix, b"")
    os.chdir(attempt.place)
    contents = damaged_contents(content, path.suffix)

    @seed(attempt.rng.randrange(2**32))
    @settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(contents)
    def reads_or_names(content: bytes) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        check_read(read, path)

    reads_or_names()


def copy_beside(source: Path, path: Path) -> None:
    """Copy the small files beside a file, and the parameters of its run."""
    path.parent.mkdir(parents=True)
    for file in (*source.parent.glob("*"), source.parent.parent / "params.yaml"):
        if file.is_file() and file.stat().st_size < 100_000:
            shutil.copyfile(file, path.parent / os.path.relpath(file, source.parent))


def check_read(read: Callable[[Path], Any], path: Path) -> None:
    """Raise AssertionError unless a reader returns, or raises an error of ours that names the file."""
    try:
        read(path)
    except CosmosError as error:
        check_message(str(error), path.name.split(".")[0])
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise AssertionError(
            f"{type(error).__name__} in {place.filename}:{place.lineno}: {str(error)[:300]}"
        ) from None


def check_message(message: str, name: str) -> None:
    """Raise AssertionError for a message without the name of the file, or too long to be read."""
    assert name in message, f"an error that does not name {name}: {message[:500]}"
    assert len(message) < 5000, f"a long error: {message[:500]}"
    assert message.count("\n") <= 12, f"a long error: {message[:500]}"


def damaged_contents(content: bytes, suffix: str) -> st.SearchStrategy[bytes]:
    """Return contents near those of a file: cut, changed, inserted, with other values; and any others."""
    places = st.integers(0, len(content))
    strategies = [
        places.map(lambda end: content[:end]),
        st.tuples(places, st.binary(max_size=12)).map(lambda p: content[: p[0]] + p[1] + content[p[0] :]),
        st.tuples(places, st.binary(min_size=1, max_size=12)).map(
            lambda p: content[: p[0]] + p[1] + content[p[0] + len(p[1]) :]
        ),
        st.binary(max_size=200),
        st.sampled_from([b"", b"\0" * 512, content + b"\0" * 100, b"\xff\xfe" + content, b"[" * 100_000]),
    ]
    if suffix in (".json", ".jsonl"):
        strategies += [
            st.randoms(use_true_random=False).map(lambda rng: other_line(content, suffix, rng))
        ] * 4
        strategies.append(ANY_JSON.map(lambda value: json.dumps(value).encode()))
    if suffix == ".yaml":
        strategies += [
            st.randoms(use_true_random=False).map(
                lambda rng: yaml.safe_dump(changed(yaml.safe_load(content), rng)).encode()
            )
        ] * 4
    return st.one_of(strategies)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
"""Values of JSON, with the numbers that Python's json writes besides."""


def other_line(content: bytes, suffix: str, rng: Any) -> bytes:
    """Return JSON, or lines of it, with one value replaced by one of another type or size."""
    if suffix == ".json":
        return with_other_value(content, rng)
    lines = content.splitlines()
    number = rng.randrange(len(lines))
    lines[number] = with_other_value(lines[number], rng)
    return b"\n".join(lines) + b"\n"


def with_other_value(content: bytes, rng: Any) -> bytes:
    """Return a JSON text with one value replaced."""
    return json.dumps(changed(json.loads(content), rng)).encode()
