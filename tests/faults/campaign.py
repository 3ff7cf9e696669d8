"""Campaign: many tries of each kind of fault, side by side, and the table that it ends in."""

import math
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from threading import Event
from types import ModuleType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.children import end_processes_below, fork_child
from tests.faults.kinds import (
    crash_points,
    enemies,
    file_systems,
    files,
    full_disks,
    hangs,
    kills,
    limits,
    names,
    places,
    read_errors,
    readers,
    signals,
    surroundings,
    together,
    users,
    watchers,
    workers,
    write_errors,
)
from tests.faults.tries import SkippedTry, Try, remove
from tests.faults.world import World, make_world
from tests.memory import memory_with_room

KINDS: dict[str, tuple[ModuleType, int]] = {
    "files": (files, 40),
    "readers": (readers, 30),
    "kills": (kills, 6),
    "signals": (signals, 5),
    "crash-points": (crash_points, 5),
    "full-disks": (full_disks, 3),
    "read-errors": (read_errors, 4),
    "write-errors": (write_errors, 3),
    "places": (places, 2),
    "file-systems": (file_systems, 2),
    "surroundings": (surroundings, 1),
    "users": (users, 1),
    "together": (together, 1),
    "watchers": (watchers, 1),
    "workers": (workers, 1),
    "limits": (limits, 1),
    "hangs": (hangs, 1),
    "enemies": (enemies, 6),
    "names": (names, 6),
}
"""Modules of the kinds of faults, with their shares of the tries."""

TRY_LIMIT = 400.0
"""Seconds after which a try is given up."""


NEEDED_ROOM = 4 << 30
"""Bytes that a campaign may need."""


@dataclass(frozen=True)
class Plan:
    """One try to make: the kind, its number, and the seed of the campaign."""

    kind: str
    number: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.kind}-{self.number}"

    @property
    def command(self) -> str:
        """Command that repeats it."""
        return f"python -m tests.faults --kind {self.kind} --seed {self.seed} --only {self.number}"


@dataclass
class Score:
    """Tries of a kind so far, by outcome."""

    tries: int = 0
    survived: int = 0
    skipped: int = 0
    reasons: set[str] = field(default_factory=set)
    """reasons for which tries were skipped"""


SURVIVED, FAILED, SKIPPED = 0, 1, 3


@dataclass
class Campaign:
    """Tries in a folder, which keeps those that failed; once `stopping` is set, no more are made."""

    folder: Path
    plans: Sequence[Plan]
    parallel: int
    stopping: Event
    scores: dict[str, Score] = field(default_factory=dict)
    failures: list[Plan] = field(default_factory=list)

    def run(self) -> None:
        """Make the world and the tries, with a bar that shows how far they are."""
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        ) as progress:
            bar = progress.add_task("make the world", total=len(self.plans))
            try:
                world = make_world(self.folder / "world")
            except AssertionError:
                if self.stopping.is_set():
                    return
                raise
            before = world.fingerprint()
            progress.update(bar, description="tries")
            for plan, status in self._outcomes(world):
                self._count(plan, status)
                if status not in (SURVIVED, SKIPPED):
                    progress.print(f"failed: {plan.command}", markup=False)
                progress.update(bar, advance=1, description=f"tries, {len(self.failures)} failed")
        assert world.fingerprint() == before, f"a try changed a file of {world.path}"

    def _outcomes(self, world: World) -> Iterator[tuple[Plan, int]]:
        """Yield each try with its outcome, `parallel` at a time, until all are made or it is to stop."""
        waiting, running = list(reversed(self.plans)), dict[int, tuple[Plan, float]]()
        while (waiting or running) and not self.stopping.is_set():
            while waiting and len(running) < self.parallel:
                plan = waiting.pop()
                running[fork_try(plan, world, self.folder)] = plan, time.monotonic()
            for pid, (plan, started) in list(running.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done and time.monotonic() - started > TRY_LIMIT:
                    os.kill(pid, signal.SIGKILL)
                    (self.folder / f"{plan.name}.txt").write_text("the try took too long\n")
                if done:
                    del running[pid]
                    end_processes_below(self.folder / plan.name)
                    if not self.stopping.is_set():  # or else the signal ended the try, too
                        yield plan, os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        for pid, (plan, _) in running.items():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            end_processes_below(self.folder / plan.name)

    def _count(self, plan: Plan, status: int) -> None:
        score, place = self.scores.setdefault(plan.kind, Score()), self.folder / plan.name
        report = self.folder / f"{plan.name}.txt"
        if status == SKIPPED:
            score.skipped += 1
            score.reasons.add(report.read_text().strip())
        else:
            score.tries += 1
            score.survived += status == SURVIVED
        if status not in (SURVIVED, SKIPPED):
            self.failures.append(plan)
            return
        for path in (*place.parent.glob(f"{place.name}.*"), place):
            remove(path)


def fork_try(plan: Plan, world: World, folder: Path) -> int:
    """Return the process that makes a try; it ends in SURVIVED, FAILED or SKIPPED, and writes a report."""
    return fork_child(partial(make_try, plan, world, folder))


def make_try(plan: Plan, world: World, folder: Path) -> int:
    """Make a try, write its report, and return its outcome."""
    status, report = FAILED, ""
    attempt = Try(world, folder / plan.name, Random(f"{plan.seed} {plan.kind} {plan.number}"), plan.number)
    try:
        KINDS[plan.kind][0].attempt(attempt)
        status = SURVIVED
    except SkippedTry as reason:
        status, report = SKIPPED, f"{reason}\n"
    except AssertionError as error:
        report = "\n".join([str(error), *getattr(error, "__notes__", [])[:1]])
    except BaseException:
        report = traceback.format_exc()
    (folder / f"{plan.name}.txt").write_text(
        "\n".join([plan.command, *attempt.story, report]) if status == FAILED else report
    )
    return status


def draw_plans(tries: int, seed: int, kinds: Sequence[str]) -> list[Plan]:
    """Return at least so many tries of a campaign, shared among kinds by their weights, in a mixed order."""
    total = sum(KINDS[kind][1] for kind in kinds)
    plans = [
        Plan(kind, number, seed)
        for kind in kinds
        for number in range(math.ceil(tries * KINDS[kind][1] / total))
    ]
    Random(seed).shuffle(plans)
    return plans


def new_folder() -> Path:
    """Return a new folder for a campaign, in memory if there is enough: commands sync their files."""
    return Path(tempfile.mkdtemp(prefix="faults-", dir=memory_with_room(NEEDED_ROOM))).resolve()


def free(folder: Path) -> None:
    """Remove the folder of a campaign in which nothing failed."""
    shutil.rmtree(folder)
