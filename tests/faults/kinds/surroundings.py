"""Surroundings: processes without home, temporary folder, terminal or UTF-8, of an unknown user."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.commands import Ended
from tests.faults.kinds.together import BESIDE
from tests.faults.tries import SkippedTry, Try
from tests.faults.works import EVALUATE, PREPARE, PRETRAIN, SWEEP
from tests.faults.world import ROOT

UNKNOWN_USER = 54321
"""Number of a user that no machine knows."""

NO_UTF8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@dataclass(frozen=True)
class Surroundings:
    """Environment of a new process: variables that it has, or lacks, and what is done before it begins."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    arrange: Callable[[], None] = lambda: None

    def enter(self, arguments: tuple[str, ...]) -> None:
        """Become a new process in these surroundings, which runs a command."""
        variables = {key: value for key, value in os.environ.items() if key not in self.without}
        self.arrange()
        command = [sys.executable, "-m", "cosmos", *arguments]
        os.execve(command[0], command, {**variables, **self.variables})


def become_unknown_user() -> None:
    """Have this process be of a user that has no name and no home."""
    os.setgroups([])
    os.setgid(UNKNOWN_USER)
    os.setuid(UNKNOWN_USER)


def close_input() -> None:
    """Close the input, which a scheduler may not open at all."""
    os.close(0)


def be_private() -> None:
    """Have this process make files that nobody else can read."""
    os.umask(0o077)


ALL = (
    Surroundings("a home that is not there", {"HOME": "/proc/none"}),
    Surroundings("a home that is a file", {"HOME": "/dev/null"}),
    Surroundings("an unknown user", without=("HOME",), arrange=become_unknown_user),
    Surroundings("no folder for temporary files", {"TMPDIR": "/proc/none"}),
    Surroundings("locale C", {"LC_ALL": "C"}),
    Surroundings("locale POSIX, without UTF-8", {"LC_ALL": "POSIX", **NO_UTF8}),
    Surroundings("a terminal of ASCII", {"PYTHONIOENCODING": "ascii"}),
    Surroundings("a terminal of Latin-1", {"PYTHONIOENCODING": "latin-1"}),
    Surroundings("a dumb terminal", {"TERM": "dumb", "COLUMNS": "1"}),
    Surroundings("no terminal's variables", without=("COLUMNS", "TERM", "PATH")),
    Surroundings("umask 077", arrange=be_private),
    Surroundings("no input", arrange=close_input),
)


def attempt(attempt: Try) -> None:
    """Give a command, and a list, in odd surroundings; the works end in the same bits."""
    surroundings, work = attempt.rng.choice(ALL), attempt.rng.choice([PREPARE, PRETRAIN, EVALUATE, SWEEP])
    attempt.copy_world()
    work.begin(attempt)
    shutil.copytree(attempt.place / "runs" / "half", attempt.place / "runs" / "überlauf-試験")
    attempt.tell(surroundings.name)
    if surroundings.arrange is become_unknown_user:
        let_everybody_in(attempt.place)
    listed = enter(attempt, surroundings, attempt.rng.choice(BESIDE))
    assert listed.status == 0, f"a list fails\n{listed.describe()}"
    ended = enter(attempt, surroundings, work.arguments)
    assert ended.status == 0, f"fails in these surroundings\n{ended.describe()}"
    work.check(attempt)


def enter(attempt: Try, surroundings: Surroundings, arguments: tuple[str, ...]) -> Ended:
    """Run a command in surroundings."""
    return attempt.cosmos(*arguments, meddle=lambda: surroundings.enter(arguments))


def let_everybody_in(place: Path) -> None:
    """Let all users work in the copy. Raises SkippedTry where this process cannot become another one."""
    if os.geteuid() or not all(map(is_reachable, (Path(sys.executable), ROOT))):
        raise SkippedTry("only root can be another user, where all can reach its Python and this checkout")
    place.parent.chmod(0o711)
    for path in (place, *place.rglob("*")):
        if path.is_dir() or path.stat().st_nlink == 1:
            path.chmod(0o777 if path.is_dir() else 0o666)


def is_reachable(path: Path) -> bool:
    """Return True for a file, or a folder, that every user can execute, or enter."""
    steps = {path, *path.parents, *path.resolve().parents}
    return all(step.stat().st_mode & 0o001 for step in steps)
