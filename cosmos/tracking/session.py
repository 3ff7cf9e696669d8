"""A run of Weights & Biases, opened once there is something to show in it."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos.config.wandb import WandbSettings
from cosmos.run.directory import RunDir
from cosmos.run.results import read_result_figures
from cosmos.tracking.note import MirrorNote
from cosmos.tracking.recording import Recording
from cosmos.tracking.shown import Axis, Best, Described, Row, better, curve_direction, table

if TYPE_CHECKING:
    import wandb

ANSWER_SHARE = 0.3
"""Share of the patience within which W&B must answer at first; the rest is for recording the run offline."""

FINISH_SHARE = 0.4
"""Share of the patience for what is left to upload at the end."""

WRITTEN_SECONDS = 2.0
"""W&B's process writes the last of a recording after it was said to be finished."""


class MirrorSession:
    """What this process shows of a run."""

    def __init__(self, run: RunDir, settings: WandbSettings) -> None:
        self.run, self.settings = run, settings
        self.note, self.mode, self.problem = MirrorNote.of(run), wanted_mode(settings), ""
        if not self.note.finished or self.note.mode != self.mode:
            # what W&B has of it is known once it is opened
            self.note = MirrorNote(self.note.id, url=self.note.url, mode=self.note.mode)
        self.opened: wandb.Run | None = None
        self.best = Best()
        self.defined = set[str]()

    @cached_property
    def axis(self) -> Axis:
        """The axis of its curves; the parameters that say it are there before the first row is."""
        return Axis.of(self.run)

    def expect(self, row: Row) -> None:
        """Opens the run where a row is about to be new, so that people can look at it early."""
        if row and row["step"] > self.note.step:
            self.open()

    def show(self, rows: Sequence[Row]) -> None:
        """Shows the rows that W&B does not have."""
        for row in rows:
            self.best = better(self.best, row)
            self.expect(row)
            if row["step"] > self.note.step:
                self.define(row)
                self.open().log(self.axis.placed(row), step=row["step"], commit=True)
                self.note = replace(self.note, step=row["step"])

    def define(self, row: Row) -> None:
        """Says, of curves not seen before, which value is their best."""
        step = "samples" if self.axis.batch_size else None
        for key in row.keys() - self.defined:
            if way := curve_direction(key):
                self.open().define_metric(key, step_metric=step, summary=f"{way},last")
        self.defined |= row.keys()

    def show_results(self) -> None:
        """Shows results that have changed: their figures, and a table of each suite."""
        for file in self.run.result_files:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
            if self.note.results.get(file.name) != digest:
                self.show_result(file)
                self.note = replace(self.note, results={**self.note.results, file.name: digest})

    def show_result(self, file: Path) -> None:
        """Shows the results of one suite, which are of a checkpoint, not of a step."""
        import wandb

        columns, rows = table(file)
        shown = wandb.Table(columns=columns, data=rows, allow_mixed_types=True)
        self.open().summary.update({**read_result_figures(file), f"tables/{file.stem}": shown})

    def show_checkpoint(self) -> None:
        """Shows where the last checkpoint lies, or uploads it where that is asked for."""
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

    def close(self) -> int:
        """Ends the session; returns the exit status.

        Raises TimeoutError where W&B does not take it all, OSError where it could not write it.
        """
        if self.opened is None:
            return 0
        self.opened.summary.update(self.best)  # W&B's own, offline, is of this session's rows alone
        self.note.write(self.run)
        self.opened.finish()
        recording = Path(self.opened.settings.sync_file)
        if self.opened.offline and not ends(recording):
            raise OSError(f"{recording} is not whole; is the disk full?")
        replace(self.note, finished=True).write(self.run)
        if self.problem:
            print(self.problem, flush=True)
        return 1 if self.problem else 0

    def open(self) -> "wandb.Run":
        """The run in W&B, opened if need be; where W&B does not answer, files for `wandb sync`."""
        if self.opened is not None:
            return self.opened
        import wandb

        self.note.write(self.run)  # whatever happens, the next process goes on in this run
        earlier = recordings(self.run, self.note.id)
        try:
            opened = start(self.run, self.settings, self.note, self.mode)
        except Exception as error:
            if self.mode == "offline":
                raise
            wandb.teardown()
            self.mode = "offline"
            opened = start(self.run, self.settings, self.note, self.mode)
            why = " ".join(str(error).split())[:160]
            self.problem = f"it is recorded in {opened.settings.sync_dir}, since W&B did not answer ({why})"
        self.opened = opened
        has_all = self.note.finished and self.note.mode == self.mode
        step = self.note.step if has_all else last_step(opened, earlier)
        self.note = replace(self.note, mode=self.mode, url=opened.url or "", step=step, finished=False)
        self.note.write(self.run)
        if self.axis.batch_size:
            opened.define_metric("samples")
            opened.define_metric("*", step_metric="samples")
        return opened


def start(run: RunDir, settings: WandbSettings, note: MirrorNote, mode: str) -> "wandb.Run":
    """Begins, or resumes, the run in W&B. Raises W&B's errors where it does not answer, or refuses."""
    import wandb

    described = Described.of(run)
    return wandb.init(
        project=settings.project,
        entity=settings.entity or None,
        id=note.id,
        resume="allow",
        name=described.name,
        group=described.group or None,
        job_type=described.job_type,
        tags=described.tags,
        config=described.config,
        dir=run.path,
        mode="online" if mode == "online" else "offline",
        settings=wandb.Settings(
            console="off",
            silent=True,
            save_code=False,
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            init_timeout=ANSWER_SHARE * settings.patience_seconds,
            finish_timeout=FINISH_SHARE * settings.patience_seconds,
            finish_timeout_raises=True,
        ),
    )


def wanted_mode(settings: WandbSettings) -> str:
    """online or offline, as the settings say, or W&B's own WANDB_MODE, or whether there is a key."""
    asked = settings.mode if settings.mode != "auto" else os.environ.get("WANDB_MODE", "auto")
    if asked == "auto":
        return "online" if has_key() else "offline"
    return "online" if asked in ("online", "run") else "offline"


def has_key() -> bool:
    """Whether an API key is configured for the server of W&B's settings: in the environment, or in netrc."""
    import wandb
    from wandb.sdk.lib import wbauth

    host = wandb.setup().settings.base_url
    try:
        return bool(
            wbauth.authenticate_session(host=host, source="cosmos", prompt=False, update_session=False)
        )
    except wandb.errors.AuthenticationError:  # a key of another form, as W&B will say
        return True


def ends(recording: Path) -> bool:
    """Whether a recording gets its end within WRITTEN_SECONDS."""
    deadline = time.monotonic() + WRITTEN_SECONDS
    while not (has_end := Recording.read(recording).has_end) and time.monotonic() < deadline:
        time.sleep(0.05)
    return has_end


def recordings(run: RunDir, run_id: str) -> list[Path]:
    """The files in which W&B has recorded a run so far, the newest first."""
    files = (run.path / "wandb").glob(f"*run-*-{run_id}/run-{run_id}.wandb")
    return sorted(files, key=os.path.getmtime, reverse=True)


def last_step(opened: "wandb.Run", earlier: Sequence[Path]) -> int:
    """The last step that W&B has of a run: its server's or, offline, that of earlier recordings; -1: none."""
    if not opened.offline:
        return opened.starting_step - 1
    return next((step for file in earlier if (step := Recording.read(file).step) >= 0), -1)
