"""What a flow run shows in the UI: how far a pretraining is, tables of results, where the report lies."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from cosmos.pipeline import dvc as pipeline
from cosmos.registry.sweep_directory import SweepDir, TrialRecord
from cosmos.report.text import parameter_label
from cosmos.stages.pretrain_job import RunJob, duration, ways_on
from cosmos.tracking.note import MirrorNote


class Progress:
    """Two artifacts that follow the workspace's pretraining: a bar, and what a person wants to know."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        bar = create_progress_artifact(0.0, key="pretraining-progress", description="not begun")
        page = create_markdown_artifact("not begun", key="pretraining")
        self.bar, self.page = cast(UUID, bar), cast(UUID, page)

    def update(self) -> None:
        """Shows how things stand. A server that is away, or a disk, must not stop a pretraining here."""
        with suppress(httpx.HTTPError, OSError), get_client(sync_client=True) as client:
            job = pipeline.pretraining_progress(self.workspace)
            run = pipeline.find_pretraining_run(self.workspace)
            if job and run:
                update_progress_artifact(self.bar, percent(job), description=pace(job))
                client.update_artifact(self.page, ArtifactUpdate(data=facts(job, run.path)))


class TrialTable:
    """An artifact that follows a sweep: a table of its trials."""

    def __init__(self, folder: SweepDir) -> None:
        self.folder = folder
        self.table = cast(UUID, create_table_artifact([], key="trials", description=folder.path.name))

    def update(self) -> None:
        """Shows the trials as they stand. A server that is away, or a disk, must not stop a sweep here."""
        with suppress(httpx.HTTPError, OSError), get_client(sync_client=True) as client:
            rows = [trial_row(trial, self.folder) for trial in self.folder.trials]
            client.update_artifact(self.table, ArtifactUpdate(data=json.dumps(rows)))


def trial_row(trial: TrialRecord, folder: SweepDir) -> dict[str, Any]:
    """A trial, for a table: how it stands, its figures, what it tries, its job, its page in W&B."""
    return {
        "trial": trial.name,
        "state": trial.state,
        **{name: rounded(value) for name, value in trial.values.items()},
        **{parameter_label(path): rounded(value) for path, value in trial.asked.items()},
        "job": trial.job,
        "W&B": MirrorNote.of(folder.run(trial)).url,
    }


def percent(job: RunJob) -> float:
    """Share of a pretraining's steps that are done, from 0 to 100."""
    return min(100.0, 100 * job.step / job.total_steps) if job.total_steps else 0.0


def pace(job: RunJob) -> str:
    """How far a pretraining is, in a line."""
    if not job.total_steps:
        return "no step yet"
    done = f"step {job.step} of {job.total_steps}, {job.samples_per_second:.1f} samples/s"
    return f"{done}, {duration(job.seconds_left)} left" if job.step < job.total_steps else done


def facts(job: RunJob, run: Path) -> str:
    """What a person wants to know of a pretraining, as Markdown."""
    rows = {
        "run": f"`{run}`",
        "cluster": job.cluster,
        "job": job.job_id,
        "state": job.state,
        "progress": pace(job),
        "until the job's limit": job.time_left,
        "as of": f"{datetime.now():%H:%M:%S}",
        "log": f"`{run / ('jobs' if job.job_id else 'log.txt')}`",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items() if value)
    return f"| pretraining | |\n|---|---|\n{table}\n" + (f"\n{ways_on(job.run)}\n" if job.job_id else "")


def show_results(key: str, rows: Sequence[dict[str, Any]], description: str) -> None:
    """A table of figures; a figure that a row does not have stays empty."""
    columns = dict.fromkeys(column for row in rows for column in row)
    table = [{column: rounded(row.get(column, "")) for column in columns} for row in rows]
    create_table_artifact(table, key=key, description=description)


def rounded(value: Any) -> Any:
    """A figure as it is read; anything else as it is."""
    return round(value, 4) if isinstance(value, float) else value


def show_report(page: Path) -> None:
    """Where the report lies."""
    create_markdown_artifact(
        f"Open `{page.absolute()}` in a browser. `dvc metrics show` and `dvc metrics diff` have the figures.",
        key="report",
    )
