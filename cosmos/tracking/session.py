"""A session in a run of Weights & Biases, which is opened once there is something to show in it."""

import base64
import glob
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cosmos.config.disk_reading import is_file
from cosmos.config.printable_text import print_text
from cosmos.config.wandb import WandbSettings
from cosmos.errors import DamagedDataError, InputError, TransientError
from cosmos.run.directory import RunDir
from cosmos.run.gallery_tables import GalleryCell, GalleryPicture, read_gallery_tables
from cosmos.run.results import Results
from cosmos.tracking.curves import (
    EVALUATED_SAMPLES,
    BestValues,
    CurveAxis,
    CurveRow,
    curve_direction,
    is_evaluated,
    update_best,
)
from cosmos.tracking.description import RunDescription, result_table
from cosmos.tracking.note import MirrorNote
from cosmos.tracking.recording import WandbRecording

if TYPE_CHECKING:
    import wandb

ANSWER_SHARE = 0.3
"""Share of the patience within which W&B must answer at first; the rest is for recording the run offline."""

FINISH_SHARE = 0.4
"""Share of the patience for the last uploads."""

WRITTEN_SECONDS = 2.0
"""Wait for the end of a recording, which W&B's process writes after the run is finished."""


class MirrorSession:
    """Session of this process in the W&B run that mirrors a run directory."""

    def __init__(self, run: RunDir, settings: WandbSettings) -> None:
        self.run, self.settings = run, settings
        self.note, self.mode, self.problem = MirrorNote.of(run), choose_wandb_mode(settings), ""
        self.is_asked_for = settings.is_asked_for or self.mode == "online"
        if not self.note.finished or self.note.mode != self.mode:
            # the state of W&B is known only once the run is opened there
            self.note = MirrorNote(self.note.id, url=self.note.url, mode=self.note.mode)
        self.wandb_run: wandb.Run | None = None
        self.best = BestValues()
        self.defined = set[str]()

    @cached_property
    def axis(self) -> CurveAxis:
        """Axis of the curves; the parameters that give it are there before the first row is."""
        return CurveAxis.of(self.run)

    def expect(self, row: CurveRow) -> None:
        """Open the run where W&B lacks a row that is not complete yet, so that its page is there early."""
        if row and row["step"] > self.note.step:
            self.open()

    def show_rows(self, rows: Sequence[CurveRow]) -> None:
        """Show the rows that W&B does not have."""
        for row in rows:
            self.best = update_best(self.best, row)
            self.expect(row)
            if row["step"] > self.note.step:
                self.define_summaries(row)
                self.open().log(self.axis.with_samples(row), step=row["step"], commit=True)
                self.note = replace(self.note, step=row["step"])

    def define_summaries(self, row: CurveRow) -> None:
        """Define, for curves not seen before, their axis and the best value that their summary keeps."""
        for key in row.keys() - self.defined:
            if "*" in key:  # W&B takes it for a pattern, and most patterns for errors
                continue
            direction, axis = curve_direction(key), self.axis.axis_of(key)
            if direction:
                self.open().define_metric(key, step_metric=axis, summary=f"{direction},last")
            elif is_evaluated(key):
                self.open().define_metric(key, step_metric=axis)
        self.defined |= row.keys()

    def show_results(self) -> None:
        """Show results that have changed, and galleries where the settings ask for them."""
        for file in self.run.result_files:
            self.show_changed(file, partial(self.show_result, file))
        if self.settings.upload_galleries and is_file(self.run.galleries):
            self.show_changed(self.run.galleries, self.show_galleries)

    def show_changed(self, file: Path, show: Callable[[], None]) -> None:
        """Show a file by `show`, unless W&B has it as it is now; one that is damaged is the problem."""
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        if self.note.results.get(file.name) == digest:
            return
        try:
            show()
        except DamagedDataError as error:  # until it is mended, when it has another digest
            self.problem = str(error)
        self.note = replace(self.note, results={**self.note.results, file.name: digest})

    def show_result(self, file: Path) -> None:
        """Show the results of one suite, which are of a checkpoint, not of a step: figures and a table."""
        import wandb

        columns, rows = result_table(file)
        table = wandb.Table(columns=columns, data=rows, allow_mixed_types=True)
        results = Results(file, file.stem)
        data = {f"data/{name}": digest for name, digest in results.data_hashes().items()}
        self.open().summary.update({**results.figures(), **data, f"tables/{file.stem}": table})

    def show_galleries(self) -> None:
        """Show a table of single samples, with pictures, for each dataset."""
        import wandb

        for name, table in read_gallery_tables(self.run).items():
            rows: list[Iterable[Any]] = [[wandb_cell(cell) for cell in row] for row in table.rows]
            shown = wandb.Table(columns=list(table.columns), data=rows, allow_mixed_types=True)
            self.open().summary.update({f"galleries/{name}": shown})

    def show_checkpoint(self) -> None:
        """Show the path of the last checkpoint, or upload it where the settings ask for that."""
        import wandb

        saved = self.run.saved_checkpoints
        if not saved or saved[0].name == self.note.checkpoint:
            return
        path = saved[0].absolute()
        artifact = wandb.Artifact(f"{self.note.id}-checkpoint", "model", metadata={"path": str(path)})
        if self.settings.upload_checkpoints:
            artifact.add_file(str(path))
        else:  # hashing it could take minutes
            artifact.add_reference(f"file://{path}", name=path.name, checksum=False)
        self.open().log_artifact(artifact)
        self.note = replace(self.note, checkpoint=path.name)

    def close(self) -> bool:
        """End the session; return True where W&B has everything, or else log the problem.

        Raises TimeoutError where not all is uploaded in time, TransientError where an offline recording is
        not whole.
        """
        if self.wandb_run is None:
            return True
        self.wandb_run.summary.update(self.best)  # W&B's own, offline, is of this session's rows alone
        self.note.write(self.run)
        self.wandb_run.finish()
        recording = Path(self.wandb_run.settings.sync_file)
        if self.wandb_run.offline and not await_end(recording):
            raise TransientError(f"{recording} is not whole; is the disk full?")
        replace(self.note, finished=True).write(self.run)
        if self.problem:
            print_text(self.problem)
        return not self.problem

    def open(self) -> "wandb.Run":
        """Return the run in W&B, opened if need be; files for `wandb sync` where W&B does not answer."""
        if self.wandb_run is None:
            self.note.write(self.run)  # whatever happens, the next process goes on in this run
            recordings = find_recordings(self.run, self.note.id)
            self.wandb_run = self.start()
            has_all = self.note.finished and self.note.mode == self.mode
            step = self.note.step if has_all else last_shown_step(self.wandb_run, recordings)
            url = self.wandb_run.url or ""
            self.note = replace(self.note, mode=self.mode, url=url, step=step, finished=False)
            self.note.write(self.run)
            if self.axis.batch_size:
                self.wandb_run.define_metric("samples")
                self.wandb_run.define_metric(EVALUATED_SAMPLES)
                self.wandb_run.define_metric("*", step_metric="samples")
        return self.wandb_run

    def start(self) -> "wandb.Run":
        """Start or resume the run in W&B; offline, with a problem to report, where W&B does not answer."""
        import wandb

        description = RunDescription.of(self.run)
        self.problem = description.problem or self.problem
        try:
            return start_wandb_run(self.run, description, self.settings, self.note, self.mode)
        except Exception as error:  # W&B's errors have no common base
            if self.mode == "offline":
                raise
            reason = " ".join(str(error).split())[:160]
        wandb.teardown()
        self.mode = "offline"
        started = start_wandb_run(self.run, description, self.settings, self.note, self.mode)
        self.problem = f"it is recorded in {started.settings.sync_dir}, since W&B did not answer ({reason})"
        return started


def wandb_cell(cell: GalleryCell) -> Any:
    """Return a cell of a gallery's table as W&B takes it."""
    import wandb
    from PIL import Image

    if not isinstance(cell, GalleryPicture):
        return cell
    if not cell.uri:  # it could not be read, as its text says
        return None
    content = base64.b64decode(cell.uri.partition(",")[2])
    return wandb.Image(Image.open(BytesIO(content)), caption=cell.text)


def start_wandb_run(
    run: RunDir, description: RunDescription, settings: WandbSettings, note: MirrorNote, mode: str
) -> "wandb.Run":
    """Start, or resume, the run in W&B. Raises W&B's errors where it does not answer, or refuses."""
    import wandb

    return wandb.init(
        project=settings.project,
        entity=settings.entity or None,
        id=note.id,
        resume="allow",
        name=description.name,
        group=description.group or None,
        job_type=description.job_type,
        tags=description.tags,
        config=description.config,
        dir=run.path,
        mode="online" if mode == "online" else "offline",
        settings=quiet_wandb_settings(settings.patience_seconds),
    )


def quiet_wandb_settings(patience: float) -> "wandb.Settings":
    """Return settings with which W&B shows only what it is given, and ends within `patience` seconds."""
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        save_code=False,
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        init_timeout=ANSWER_SHARE * patience,
        finish_timeout=FINISH_SHARE * patience,
        finish_timeout_raises=True,
    )


def choose_wandb_mode(settings: WandbSettings) -> str:
    """Return online or offline: by the settings; in mode auto by WANDB_MODE, or online where a key is set."""
    if settings.own_mode == "auto":
        return "online" if has_wandb_key() else "offline"
    return "online" if settings.own_mode in ("online", "run") else "offline"


def has_wandb_key() -> bool:
    """Return True when an API key for the server of W&B's settings is in the environment or in netrc.

    Raises InputError where W&B refuses a variable of its own.
    """
    import wandb
    from wandb.sdk.lib import wbauth

    try:
        host = wandb.setup().settings.base_url
    except ValidationError as error:
        variables = ", ".join(f"WANDB_{str(each['loc'][0]).upper()}" for each in error.errors())
        raise InputError(f"W&B refuses {variables}: {error.errors()[0]['msg']}; mend or unset it") from None
    try:
        return bool(
            wbauth.authenticate_session(host=host, source="cosmos", prompt=False, update_session=False)
        )
    except wandb.errors.AuthenticationError:  # a key of another form, as W&B will say
        return True


def await_end(recording: Path) -> bool:
    """Wait for the end of a recording, at most WRITTEN_SECONDS; return True once it is there."""
    deadline = time.monotonic() + WRITTEN_SECONDS
    while not (has_end := WandbRecording.read(recording).has_end) and time.monotonic() < deadline:
        time.sleep(0.05)
    return has_end


def find_recordings(run: RunDir, run_id: str) -> list[Path]:
    """Return the files in which W&B has recorded a run so far, the newest first."""
    files = (run.path / "wandb").glob(f"*run-*-{glob.escape(run_id)}/run-{glob.escape(run_id)}.wandb")
    return sorted(filter(is_file, files), key=os.path.getmtime, reverse=True)


def last_shown_step(started: "wandb.Run", recordings: Sequence[Path]) -> int:
    """Return the last step that W&B has of a run, on its server or in `recordings`; -1 where it has none."""
    if not started.offline:
        return started.starting_step - 1
    return next((step for file in recordings if (step := WandbRecording.read(file).step) >= 0), -1)
