"""Description of a run for Weights & Biases, from its directory: name, labels, config, result tables."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from cosmos.config.disk_reading import exists
from cosmos.config.identity import short_hash
from cosmos.config.printable_text import encodable_text, printable
from cosmos.config.settings_file import read_mapping
from cosmos.run.directory import RunDir
from cosmos.run.labels import RunLabels
from cosmos.run.provenance_record import read_provenance
from cosmos.run.records import TolerantReader, read_record
from cosmos.run.results import ResultEntry, Results, interval_columns, overall_figures

MAX_TAG, MAX_NAME = 64, 128
"""Characters that W&B takes."""


@dataclass(frozen=True)
class RunDescription:
    """Name, group, job type, tags and config of a run."""

    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    problem: str = ""
    """files that cannot be read, and are left out"""

    @classmethod
    def of(cls, run: RunDir) -> Self:
        """Return the description that a directory gives now."""
        reader = TolerantReader()
        labels = reader.read(run.labels, lambda: RunLabels.of(run), RunLabels())
        config = wandb_config(run, reader)
        is_search = labels.job_type == "search"
        in_group = run.path.parent.name == labels.group
        tags = (printable(tag)[:MAX_TAG] for tag in (*labels.tags, *param_tags(config)) if tag)
        name = f"{labels.group}/{run.path.name}" if in_group else run.path.name
        return cls(
            name=printable(name)[-MAX_NAME:],
            group=printable(labels.group)[:MAX_NAME],
            job_type=labels.job_type if exists(run.params) or is_search else "evaluate",
            tags=tuple(dict.fromkeys(tags)),
            config=encodable_value(config),
            problem="; ".join(reader.problems),
        )


def param_tags(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the experiment and of the dataset in a config, as far as it has them."""
    data = config.get("data")
    names = config.get("experiment"), data.get("name") if isinstance(data, dict) else None
    return tuple(str(name) for name in names if name)


def wandb_config(run: RunDir, reader: TolerantReader) -> dict[str, Any]:
    """Return Params, nested as they are, and beside them the trial and the provenance of a run.

    W&B shows nested values as columns named by their path (pretrain.momentum), and finds them by it in
    filters and in parallel coordinates; there it would not find a flat key with dots in it.
    """
    empty: dict[str, Any] = {}
    params = reader.read(run.params, lambda: read_mapping(run.params) if exists(run.params) else {}, empty)
    trial = reader.read(
        run.trial, lambda: read_record(run.trial, dict[str, Any], "record of a trial", "delete it"), empty
    )
    session = reader.read(run.provenance, lambda: summarize_provenance(run.provenance), empty)
    checkpoint = reader.read(run.path, lambda: evaluated_checkpoint(run), empty)
    return {
        **params,
        **(
            {"trial": {key: trial[key] for key in ("number", "seed", "until") if key in trial}}
            if trial
            else {}
        ),
        "provenance": {**session, **checkpoint},
    }


def encodable_value(value: Any) -> Any:
    """Return a value of JSON with escapes for what UTF-8 cannot encode: paths of data may be any bytes."""
    if isinstance(value, dict):
        return {encodable_value(key): encodable_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [encodable_value(item) for item in value]
    return encodable_text(value) if isinstance(value, str) else value


def summarize_provenance(path: Path) -> dict[str, Any]:
    """Return commit, data, device and job of a run's newest session; {} where there was none."""
    provenance = read_provenance(path)
    if not provenance.sessions:
        return {}
    newest = provenance.sessions[-1]
    return {
        "commit": newest.commit,
        "changed": bool(newest.changes_sha256) or (newest.version or "").endswith("-dirty"),
        "data": provenance.data,
        "device": newest.hardware.device,
        "job": asdict(newest.job) if newest.job.id else {},
        "requeues": provenance.requeues,
    }


def evaluated_checkpoint(run: RunDir) -> dict[str, Any]:
    """Return the checkpoint that results are of, where the run has not trained it; {} otherwise."""
    if exists(run.params):
        return {}
    entries = [entry for file in run.result_files for entry in _read_entries(file).values()]
    return {"checkpoint": entries[-1]["checkpoint"]} if entries else {}


def result_table(file: Path) -> tuple[list[str | int], list[Iterable[Any]]]:
    """Return columns and rows of a results file: a row for each dataset, with its data, and model."""
    rows = [
        {
            "dataset": dataset,
            "data": short_hash(entry["data_hash"]),
            "model": model,
            "images": entry.get("num_images"),
            **overall_figures(figures),
            **interval_columns(entry["intervals"].get(model, {})),
        }
        for dataset, entry in _read_entries(file).items()
        for model, figures in entry["models"].items()
    ]
    columns: list[str | int] = list(dict.fromkeys(key for row in rows for key in row))
    return columns, [[row.get(str(column)) for column in columns] for row in rows]


def _read_entries(file: Path) -> dict[str, ResultEntry]:
    return Results(file, file.stem).entries()
