"""Places: folders that are links, on disks that cannot be written, or with times of another clock."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.kinds.full_disks import mount, own_mounts
from tests.faults.kinds.together import BESIDE
from tests.faults.tries import Try, check_answer, check_manners
from tests.faults.works import EVALUATE, PREPARE, PRETRAIN, PROMOTE, SWEEP, WORKS, draw_work

TIMES = (-400 * 86400, -3600, -90, 90, 3600, 400 * 86400)
"""Seconds by which a clock was wrong when files were written."""

WRITTEN = {
    PREPARE: ("data", "data/photos"),
    PRETRAIN: ("runs", "runs/again", "runs/again/checkpoints"),
    EVALUATE: ("runs/mine", "runs/mine/results", "data/demo"),
    SWEEP: ("runs", "data"),
}
"""Works, and folders that may be links, also where they are not there yet."""


def attempt(attempt: Try) -> None:
    """Have a folder be elsewhere, or as it is nowhere, and give a command that works in it."""
    arrange = attempt.rng.choice(ARRANGEMENTS)
    attempt.tell(arrange.__name__)
    arrange(attempt)


def linked_folder(attempt: Try) -> None:
    """Work in a folder that is a link to one on another disk, to nothing, or to itself."""
    work = attempt.rng.choice(list(WRITTEN))
    attempt.copy_world()
    work.begin(attempt)
    link = attempt.place / attempt.rng.choice(WRITTEN[work])
    target = attempt.place / "elsewhere"
    if link.exists():
        link.rename(target)
    link.parent.mkdir(parents=True, exist_ok=True)
    leads_nowhere = not target.exists() and attempt.rng.random() < 0.3
    if not leads_nowhere:
        target.mkdir(exist_ok=True)
    nowhere = attempt.rng.choice([Path("/proc/none/elsewhere"), link])
    link.symlink_to(nowhere if leads_nowhere else target)
    attempt.tell(f"{link.relative_to(attempt.place)} is a link to {link.readlink()}")
    if leads_nowhere:
        ended = attempt.cosmos(*work.arguments)
        check_answer(ended, [link.name])
        assert ended.status, f"works in a link to nowhere\n{ended.describe()}"
        link.unlink()
    work.finish(attempt)
    assert leads_nowhere or link.is_symlink(), "the link is gone"


def files_of_another_clock(attempt: Try) -> None:
    """Work where files are of the future, or of long ago; and go on with what a killed command left so."""
    work = draw_work(attempt)
    running = attempt.start(*work.arguments)
    time.sleep(attempt.rng.uniform(0, work.seconds))
    running.kill(9)
    check_manners(running.wait())
    seconds = attempt.rng.choice(TIMES)
    attempt.tell(f"a kill, and {seconds} s of another clock")
    for path in attempt.place.rglob("*"):
        if path.is_file() and path.stat().st_nlink == 1:
            moment = path.stat().st_mtime + seconds
            os.utime(path, (moment, moment))
    attempt.cosmos(*attempt.rng.choice(BESIDE))
    work.finish(attempt)


def disk_that_is_only_read(attempt: Try) -> None:
    """Work with a disk that cannot be written: what only reads succeeds, all else names a file on it."""
    own_mounts()
    work = attempt.rng.choice(WORKS)
    attempt.copy_world()
    work.begin(attempt)
    folder = attempt.place / attempt.rng.choice(["data", "runs", "photos", "experiments", "home", "cache"])
    attempt.tell(f"{folder.name} is only read")
    mount("--bind", str(folder), str(folder))
    mount("-o", "remount,bind,ro", str(folder))
    beside = attempt.rng.choice([*BESIDE, ("attach", "mine"), ("cancel", "mine"), ("datasets",)])
    listed = attempt.cosmos(*beside)
    assert listed.status == 0 or "compare" in beside, f"a list writes\n{listed.describe()}"
    ended = attempt.cosmos(*work.arguments)
    check_answer(ended, [f"{folder.name}/", str(folder)])
    also_written = {PREPARE: "data", PROMOTE: "home"}  # the latter by DVC
    is_written = folder.name in (*work.writes, also_written.get(work))
    assert ended.status == (2 if is_written else 0), f"{folder.name} is only read\n{ended.describe()}"
    mount("-o", "remount,bind,rw", str(folder))
    work.finish(attempt)


ARRANGEMENTS: tuple[Callable[[Try], None], ...] = (
    linked_folder,
    files_of_another_clock,
    disk_that_is_only_read,
)
