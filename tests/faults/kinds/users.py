"""Users: one works on what another made, as a group does whose folders all may write, read or not enter."""

import os
import shutil
import signal
import stat
import sys
import time
from itertools import pairwise
from pathlib import Path

from tests.faults.commands import Ended, Running
from tests.faults.kinds.surroundings import is_reachable
from tests.faults.kinds.together import check_ended
from tests.faults.tries import SkippedTry, Try, check_answer, check_manners
from tests.faults.works import EVALUATE, EXPORT, PREPARE, PRETRAIN, RUNGS, SWEEP, Work, draw_work
from tests.faults.world import ROOT
from tests.other_users import ALICE, BOB, GROUP

UMASKS = {0o002: "all may write", 0o022: "all may read", 0o077: "nobody else may enter"}

LISTS = (("runs", "list"), ("jobs",), ("runs", "show", "mine"), ("datasets",))
"""Commands that only read."""

OF_JOBS = (("attach", "mine"), ("attach", "small-d039571f/trial-0000"))
"""Commands for the user alone whose job it is."""


def attempt(attempt: Try) -> None:
    """Have a user begin a work, another one give it in the same folders, and the first one end it."""
    if os.geteuid() or not all(map(is_reachable, (Path(sys.executable), ROOT))):
        raise SkippedTry("only root can be other users, where all can reach its Python and this checkout")
    rng, umask = attempt.rng, attempt.rng.choice(list(UMASKS))
    work = draw_work(attempt, (PREPARE, PRETRAIN, EVALUATE, SWEEP, RUNGS, EXPORT))
    attempt.tell(UMASKS[umask])
    give_away(attempt.place, umask)
    if umask == 0o002 and rng.random() < 0.4:
        work_together(attempt, work, umask)
        return
    if rng.random() < 0.5:
        begun = begin(attempt, work, umask)
        begun.kill(signal.SIGKILL)
        check_manners(begun.wait())
    before = describe_files(attempt.place)
    for command in (rng.choice(LISTS), rng.choice(OF_JOBS)):
        told = as_user(attempt, BOB, umask, *command)
        check_answer(told, [attempt.place.name, "runs", "params.yaml"])
        if umask != 0o077:
            assert told.status == (2 if command in OF_JOBS else 0), f"another's files\n{told.describe()}"
    ended = as_user(attempt, BOB, umask, *work.arguments)
    if umask == 0o002:
        assert ended.status == 0, f"does not go on with another's files\n{ended.describe()}"
        work.check(attempt)
        check_modes(attempt.place, umask)
    else:
        check_answer(ended, [attempt.place.name, "runs", "data", "photos", "out"])
        assert describe_files(attempt.place) == before, f"another's files are changed\n{ended.describe()}"
    work.finish(attempt, meddle=lambda: become(attempt.place, ALICE, umask))


def give_away(place: Path, umask: int) -> None:
    """Make a try's folder that of a user with this umask, with a home for each user."""
    place.parent.chmod(0o711)
    for path in (place, *place.rglob("*")):
        if path.is_file() and path.stat().st_nlink > 1:  # shared with the world
            copy = path.with_name(f"{path.name}.copy")
            shutil.copyfile(path, copy)
            copy.replace(path)
        os.chown(path, ALICE, GROUP, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(shared_mode(path, umask & ~0o055 if is_of_checkout(path, place) else umask))
    for user in (ALICE, BOB):
        for name in ("home", "tmp", "cache"):
            (folder := place / str(user) / name).mkdir(parents=True)
            os.chown(folder, user, GROUP)


def shared_mode(path: Path, umask: int) -> int:
    """Return the mode that a file has, or a folder with its group's members, by a umask."""
    if is_of_job(path):
        return 0o700 if path.is_dir() else 0o600
    return (0o2777 if path.is_dir() else 0o666) & ~umask


def is_of_checkout(path: Path, place: Path) -> bool:
    """Return True for the folder worked in and its parameters, which all may read."""
    return path == place or path.relative_to(place).parts[0] in ("params.yaml", "experiments")


def is_of_job(path: Path) -> bool:
    """Return True for the folder of a job, which is closed to others, and for what is in it."""
    parts = path.parts
    return any(a in ("jobs", "evaluations") and len(b) == 8 for a, b in pairwise(parts))


def become(place: Path, user: int, umask: int) -> None:
    """Have this process be of a user, with a home of its own."""
    home = place / str(user)
    os.environ.update(
        HOME=str(home / "home"), TMPDIR=str(home / "tmp"), COSMOS_CACHE_ROOT=str(home / "cache")
    )
    os.setgroups([])
    os.setgid(GROUP)
    os.setuid(user)
    os.umask(umask)


def as_user(attempt: Try, user: int, umask: int, *arguments: str) -> Ended:
    """Run a command of a user."""
    attempt.tell({ALICE: "Alice:", BOB: "Bob:"}[user])
    return attempt.cosmos(*arguments, meddle=lambda: become(attempt.place, user, umask))


def begin(attempt: Try, work: Work, umask: int) -> Running:
    """Have the first user begin a work; return it after a part of its time."""
    running = work.start(attempt, meddle=lambda: become(attempt.place, ALICE, umask))
    time.sleep(attempt.rng.uniform(0, work.seconds))
    return running


def work_together(attempt: Try, work: Work, umask: int) -> None:
    """Have both users give a work at once; then the second one once more."""
    first = begin(attempt, work, umask)
    check_ended(as_user(attempt, BOB, umask, *work.arguments))
    check_ended(first.wait())
    work.finish(attempt, meddle=lambda: become(attempt.place, BOB, umask))
    check_modes(attempt.place, umask)


def describe_files(place: Path) -> dict[Path, tuple[int, ...]]:
    """Return the owner, mode, size and time of change of each file of the first user."""
    statuses = {path: path.lstat() for path in place.rglob("*") if str(BOB) not in path.parts}
    return {
        path: (status.st_uid, status.st_mode, status.st_size, status.st_mtime_ns)
        for path, status in statuses.items()
    }


def check_modes(place: Path, umask: int) -> None:
    """Raise AssertionError for a file of the second user that the first one may not use."""
    for path in place.rglob("*"):
        status = path.lstat()
        if status.st_uid != BOB or str(BOB) in path.parts or path.is_symlink() or is_of_job(path):
            continue
        expected = shared_mode(path, umask)
        assert stat.S_IMODE(status.st_mode) == expected, f"{path}: has mode {status.st_mode:o}"
