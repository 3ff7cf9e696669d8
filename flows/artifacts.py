"""Artifacts of flow runs in the UI: progress of a pretraining, tables of trials and results."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
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
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from cosmos.config.number_text import format_duration, format_number
from cosmos.config.printable_text import cosmos_command, printable
from cosmos.errors import CosmosError
from cosmos.pipeline.directory import PipelineDir
from cosmos.pipeline.dvc import find_pretraining_run, pretraining_progress
from cosmos.registry.jobs import RunJob
from cosmos.report.loss_picture import LossFollower
from cosmos.report.markdown import markdown_code, markdown_text
from cosmos.report.text import parameter_label
from cosmos.run.directory import RunDir
from cosmos.run.sweep_directory import SweepDir, TrialRecord
from cosmos.stages.jobs import job_commands
from cosmos.tracking.note import MirrorNote

PROGRESS_BAR, PROGRESS_PAGE, TRIALS = "pretraining-progress", "pretraining", "trials"
"""Keys of artifacts that follow what they show."""

MARKUP = re.compile(r"[\\`*\[\]<>~&|]|(?<!\w)_|_(?!\w)|^[#+=-]")
"""Pattern of the signs in a text that Markdown, or HTML in it, would take for more than text."""

ADDRESS = re.compile(r"https?://[\w.:/?=%+-]+")


def find_artifact(client: SyncPrefectClient, flow_run_id: UUID, key: str) -> UUID | None:
    """Return the newest artifact of a key that a flow run has made, in any of its tries; None without one."""
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]), key=ArtifactFilterKey(any_=[key])
    )
    newest = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC)
    return newest[0].id if newest else None


class PretrainingProgress:
    """Two artifacts that follow a pipeline's pretraining: a progress bar, and a page of facts."""

    def __init__(self, workspace: Path, pipeline: PipelineDir) -> None:
        self.workspace, self.pipeline = workspace, pipeline
        self.artifacts: tuple[UUID, UUID] | None = None
        self.loss: LossFollower | None = None
        self.update()

    def update(self) -> None:
        """Show the present state. A server or a file that cannot be read must not stop a pretraining here."""
        with suppress(httpx.HTTPError, OSError, CosmosError), get_client(sync_client=True) as client:
            bar, page = self.artifacts = self.artifacts or create_progress_artifacts()
            job = pretraining_progress(self.workspace, self.pipeline)
            run = find_pretraining_run(self.workspace, self.pipeline)
            if job and run:
                update_progress_artifact(bar, percent_done(job), description=describe_pace(job))
                client.update_artifact(page, ArtifactUpdate(data=self.page(job, run)))

    def page(self, job: RunJob, run: RunDir) -> str:
        """Return the facts of the pretraining, and the curve of its loss, as Markdown."""
        if self.loss is None or self.loss.tail.path != run.metrics:
            self.loss = LossFollower(run.metrics)
        self.loss.update()
        return pretraining_markdown(job, run.path, self.loss)


def create_progress_artifacts() -> tuple[UUID, UUID]:
    """Create the progress bar and the page of a pretraining that has not begun."""
    bar = create_progress_artifact(0.0, key=PROGRESS_BAR, description="not begun")
    page = create_markdown_artifact("not begun", key=PROGRESS_PAGE)
    return cast(UUID, bar), cast(UUID, page)


def show_cancelled_pretraining(flow_run_id: UUID, workspace: Path, pipeline: PipelineDir) -> None:
    """Show the state of a pretraining whose job was cancelled, on the page of the flow run that began it."""
    job, run = pretraining_progress(workspace, pipeline), find_pretraining_run(workspace, pipeline)
    with get_client(sync_client=True) as client:
        page = find_artifact(client, flow_run_id, PROGRESS_PAGE)
        if job and run and page:
            loss = LossFollower(run.metrics)
            loss.update()
            client.update_artifact(page, ArtifactUpdate(data=pretraining_markdown(job, run.path, loss)))


class TrialTable:
    """Artifact that follows a sweep: a table of its trials."""

    def __init__(self, folder: SweepDir) -> None:
        self.folder = folder
        self.table: UUID | None = None
        self.update()

    def update(self) -> None:
        """Show the trials' present states. A server or a file that cannot be read must not stop a sweep."""
        with suppress(httpx.HTTPError, OSError, CosmosError), get_client(sync_client=True) as client:
            rows = trial_rows(self.folder)
            self.table = self.table or self.create()
            client.update_artifact(self.table, ArtifactUpdate(data=json.dumps(rows)))

    def create(self) -> UUID:
        """Create the artifact, of a sweep without trials."""
        return cast(
            UUID, create_table_artifact([], key=TRIALS, description=markdown_text(self.folder.path.name))
        )


def show_cancelled_trials(flow_run_id: UUID, folder: SweepDir) -> None:
    """Show that trials were cancelled in the table of the flow run that began or followed them."""
    with get_client(sync_client=True) as client:
        if table := find_artifact(client, flow_run_id, TRIALS):
            rows = trial_rows(folder, "cancelled; the same sweep goes on with it")
            client.update_artifact(table, ArtifactUpdate(data=json.dumps(rows)))


def trial_rows(folder: SweepDir, running: str = "running") -> list[dict[str, Any]]:
    """Return the rows of a table of a sweep's trials; `running`: the state of those that have not ended."""
    trials = folder.read_trials()
    rows = [trial_row(trial, folder, running) for trial in trials.records]
    return fill_table([*rows, *({"trial": name, "state": text} for name, text in trials.problems.items())])


def trial_row(trial: TrialRecord, folder: SweepDir, running: str = "running") -> dict[str, Any]:
    """Return a trial's row of a table: state, figures, parameters, job, address of its page in W&B."""
    url = MirrorNote.of(folder.run(trial)).url
    return {
        "trial": trial.name,
        "state": running if trial.state == "running" else trial.standing,
        **trial.values,
        **{parameter_label(path): value for path, value in trial.asked.items()},
        "job": trial.job,
        **({"breaches": ", ".join(trial.breaches)} if trial.breaches else {}),
        **({"W&B": url} if url else {}),
    }


def percent_done(job: RunJob) -> float:
    """Return the share of a pretraining's steps that are done, from 0 to 100."""
    return min(100.0, 100 * job.step / job.total_steps) if job.total_steps else 0.0


def describe_pace(job: RunJob) -> str:
    """Return step, speed and time left of a pretraining, in a line."""
    if not job.total_steps:
        return "no step yet"
    done = f"step {job.step} of {job.total_steps}, {format_number(job.samples_per_second)} samples/s"
    return f"{done}, {format_duration(job.seconds_left)} left" if job.step < job.total_steps else done


def describe_state(job: RunJob) -> str:
    """Return the state of a job; of a pretraining in the flow itself, which has none, "" until it is done."""
    return job.state if job.job_id else "finished" if percent_done(job) == 100 else ""


def pretraining_markdown(job: RunJob, run: Path, loss: LossFollower) -> str:
    """Return the facts of a pretraining, and the curve of its loss, as Markdown."""
    rows = {
        "run": markdown_code(str(run)),
        "cluster": markdown_text(job.cluster),
        "job": markdown_text(job.job_id),
        "state": markdown_text(describe_state(job)),
        "problem": markdown_text(job.problem),
        "progress": describe_pace(job),
        "loss": loss.last,
        "samples that can be used": job.missing_data,
        "until the job's limit": job.time_left,
        "as of": f"{datetime.now():%H:%M:%S}",
        "log": markdown_code(str(run / ("jobs" if job.job_id else "log.txt"))),
        "report": f"{markdown_code(cosmos_command('report', job.run))} writes it"
        if percent_done(job) == 100
        else "",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items() if value)
    attach, cancel = map(markdown_code, job_commands(job.run))
    commands = f"\n{attach} shows it, {cancel} ends it\n" if job.job_id else ""
    return f"| pretraining | |\n|---|---|\n{table}\n{commands}\n{loss.picture}\n"


def create_results_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Create a table artifact of figures."""
    create_table_artifact(fill_table(rows), key=key, description=description)


def fill_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a table, each with all columns: a value that a row does not have stays empty."""
    columns = dict.fromkeys(column for row in rows for column in row)
    return [{printable(column): table_value(row.get(column, "")) for column in columns} for row in rows]


def table_value(value: Any) -> Any:
    """Return a value for a table: a figure with as many digits as people are shown, a text as `cell_text`."""
    if isinstance(value, str):
        return cell_text(value)
    return float(format_number(value)) if isinstance(value, float) else value


def cell_text(text: str) -> str:
    """Return a text for a cell, on one line: the UI takes it for Markdown, and shows it literally.

    Other readers see what is escaped: signs that would begin something, alone. An address stays a link.
    """
    shown = printable(text)
    return shown if ADDRESS.fullmatch(shown) else MARKUP.sub(r"\\\g<0>", shown)


def create_data_link(folder: Path) -> None:
    """Create an artifact that names the folder of the prepared data."""
    place = shlex.quote(str(folder))
    create_markdown_artifact(
        f"{markdown_code(str(folder))}: for a sweep, {markdown_code(f'-p data_root={place}')}; "
        f"for `cosmos`, {markdown_code(f'COSMOS_DATA_ROOT={place}')}.",
        key="data",
    )
