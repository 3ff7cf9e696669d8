"""State of the code that runs: its commit, and all that is in no commit, as git tells them."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Self

from cosmos.errors import CosmosError

DISTRIBUTION = "cosmos-pretraining"
PACKAGE = Path(__file__).parents[1]
MAX_DIFF_CHARS = 200_000
GIT_SECONDS = 60.0
"""Time that git may take for an answer."""
MAX_NEW_FILES = 200
"""New files that a diff adds; more are counted."""

NO_SECRETS = tuple(f":(top,exclude,glob)**/{name}" for name in (".env", ".env.*", "machine.yaml"))
"""Pathspecs that keep files of secrets out of a diff, should they be in a commit or not be ignored."""

SAFE_GIT = ("git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
"""git that reads a checkout of another user, whose code runs here anyway, and starts none of its programs."""

PLAIN_DIFF = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")

REDIRECTIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
"""Variables that hooks of git set, by which git would look at another repository."""


class GitError(CosmosError):
    """State of a checkout that git does not tell."""


@dataclass(frozen=True)
class CodeState:
    """State of the code: its commit, and what is in no commit."""

    commit: str
    """commit of the checkout; "" where it is unknown"""
    diff: str
    """changes since the commit, with new files of the package that git does not ignore; of bounded length"""
    version: str
    """the commit, `-dirty` where code is in no commit; the package's version where it is installed, and with
    `+unknown` where the commit is unknown"""
    problem: str = ""
    """reason for which the commit of a checkout is unknown"""

    @classmethod
    def of_package(cls) -> Self:
        """Return the state of this package, where it is installed or in a checkout."""
        installed = installed_version(DISTRIBUTION)
        if is_installed_copy():
            return cls("", "", installed)
        try:
            return cls.of_checkout(PACKAGE)
        except GitError as error:
            return cls("", "", f"{installed}+unknown", str(error))

    @classmethod
    def of_checkout(cls, folder: Path) -> Self:
        """Return the state of the checkout that `folder` lies in, with new files below `folder`.

        Raises GitError where there is no checkout, or no commit, or git is missing or refuses.
        """
        root = Path(os.fsdecode(git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n")))
        if git(folder, "check-ignore", ".", good=(0, 1)):
            raise GitError(f"{folder}: ignored by the git checkout {root}")
        try:
            commit = git(folder, "rev-parse", "--verify", "HEAD").decode().strip()
        except GitError:
            raise GitError(f"{root}: no commit yet") from None
        described = git(folder, "describe", "--always", "--dirty").decode().strip()
        changes = git(folder, *PLAIN_DIFF, "HEAD", "--", ":(top)", *NO_SECRETS)
        new_files = list_new_files(folder)
        if new_files and not described.endswith("-dirty"):
            described += "-dirty"
        return cls(commit, cut_diff([changes, *new_file_diffs(root, new_files)]), described)


def is_installed_copy() -> bool:
    """Return True where this package was installed, and does not run from a checkout.

    A checkout may hold metadata of its own, as an editable installation writes them, but no record of files.
    """
    return any(
        Path(str(metadata.locate_file(PACKAGE.name))) == PACKAGE and metadata.read_text("RECORD")
        for metadata in distributions(name=DISTRIBUTION)
    )


def list_new_files(folder: Path) -> list[str]:
    """Return the files below a folder, by their path from the root, that git neither has nor ignores."""
    listing = ("ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", ".", *NO_SECRETS)
    listed = git(folder, *listing)
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]


def new_file_diffs(root: Path, names: Sequence[str]) -> Iterator[bytes]:
    """Yield the diff that adds each file; a line in its place where it is too large or cannot be read."""
    for name in names[:MAX_NEW_FILES]:
        shown = os.fsencode(name)
        try:
            if (size := (root / name).lstat().st_size) > MAX_DIFF_CHARS:
                yield b"# new file, too large to be kept: %s (%d bytes)\n" % (shown, size)
            else:
                yield git(root, *PLAIN_DIFF, "--no-index", "--", os.devnull, name, good=(0, 1))
        except (OSError, GitError):
            yield b"# new file that cannot be read: %s\n" % shown
    if len(names) > MAX_NEW_FILES:
        yield b"# and %d more new files\n" % (len(names) - MAX_NEW_FILES)


def cut_diff(parts: Iterable[bytes]) -> str:
    """Return the parts as text; past MAX_DIFF_CHARS it is cut, and a last line says so."""
    whole = ""
    for part in parts:
        whole += part.decode("utf-8", "replace")
        if len(whole) > MAX_DIFF_CHARS:
            return f"{whole[:MAX_DIFF_CHARS]}\n# cut here, after {MAX_DIFF_CHARS:,} characters\n"
    return whole


def git(folder: Path, *arguments: str, good: Sequence[int] = (0,)) -> bytes:
    """Return the output of git in a folder.

    Raises GitError for an exit status that is not among `good`, and where git hangs, as on a disk that does.
    """
    environment = {key: value for key, value in os.environ.items() if key not in REDIRECTIONS}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [*SAFE_GIT, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=GIT_SECONDS,
            start_new_session=True,  # a signal to the command's process group is no answer of git's
        )
    except OSError as error:
        raise GitError(f"{folder}: git cannot be run ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"{folder}: git has not answered for {GIT_SECONDS:g} s") from None
    if done.returncode not in good:
        reason = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0].removeprefix("fatal: ")
        raise GitError(f"{folder}: {reason or f'git ended with {done.returncode}'}")
    return done.stdout


def installed_version(package: str) -> str:
    """Return the version of an installed package; "" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
