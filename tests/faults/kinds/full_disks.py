"""Full disks: a command says which file, and keeps what it can; once there is room, it goes on."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

from tests.faults.tries import SkippedTry, Try, check_answer
from tests.faults.works import PRETRAIN, draw_work
from tests.faults.world import LAST_STEP

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
FOLDERS = ("data", "runs", "cache", "tmp", "models", "home")
"""Folders of the world that become a small disk in turn; the first two more often."""


def attempt(attempt: Try) -> None:
    """Have a disk become full, give a command, make room, and give it again."""
    own_mounts()
    (fill_at_second_save if attempt.rng.random() < 0.2 else fill_folder)(attempt)


def fill_at_second_save(attempt: Try) -> None:
    """Pretrain on a disk with room for one checkpoint, and not for two; a thread writes them."""
    attempt.copy_world()
    folder = attempt.place / "runs" / "again" / "checkpoints"
    whole = attempt.world.path / "runs" / "whole" / "checkpoints"
    size = (whole / f"step-{LAST_STEP:08}.pt").stat().st_size
    every = attempt.rng.choice([1, 2, 3])
    folder.mkdir(parents=True)
    fill_disk(folder, round(size * attempt.rng.uniform(1.1, 1.9)))
    attempt.tell(f"room for the checkpoint of step {every}, and not for that of {2 * every}")
    ended = attempt.cosmos(*PRETRAIN.arguments, checkpoint_every_steps=str(every), keep_checkpoints="9")
    message = "".join(ended.output.split())
    for text in (f"step-{2 * every:08}.pt:", f"step-{every:08}.ptiskept"):
        assert text in message, f"does not tell of {text}\n{ended.describe()}"
    assert ended.status == 74, f"a full disk may be mended: status 74\n{ended.describe()}"
    assert [path.name for path in folder.iterdir()] == [f"step-{every:08}.pt"], "the save is not kept"
    mount("-o", "remount,size=2g", str(folder))
    PRETRAIN.finish(attempt)


def fill_folder(attempt: Try) -> None:
    """Put a folder onto a disk that becomes full."""
    work = draw_work(attempt)
    folder = attempt.place / attempt.rng.choice([*work.writes * 3, *FOLDERS])
    room = attempt.rng.choice([4, 64, 256, 1024, 4096, 16384]) * 1024
    attempt.tell(f"a disk at {folder.name} with {room} bytes left")
    fill_disk(folder, room)
    ended = attempt.cosmos(*work.arguments, data_wait_minutes="0.05")
    attempt.tell(f"{work.name} ended in {ended.status}")
    check_answer(ended, [f"{folder.name}/", str(folder)])
    assert ended.status in (0, 74), f"a full disk may be mended: status 74\n{ended.describe()}"
    attempt.tell("make room")
    mount("-o", "remount,size=2g", str(folder))
    work.finish(attempt)


def own_mounts() -> None:
    """Give this process mounts of its own, which end with it. Raises SkippedTry where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if user and libc.unshare(CLONE_NEWUSER):
        raise SkippedTry("neither root nor user namespaces: no disk can be mounted")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if libc.unshare(CLONE_NEWNS):
        raise SkippedTry("no mounts of its own are allowed to this process")
    mount("--make-rprivate", "/")


def fill_disk(folder: Path, room: int) -> None:
    """Mount a disk at `folder` that holds what is there, and has `room` bytes left."""
    folder.mkdir(exist_ok=True)
    aside = folder.with_name(f"{folder.name}.aside")
    shutil.copytree(folder, aside, symlinks=True)
    mount("-t", "tmpfs", "-o", "size=2g", "tmpfs", str(folder))
    shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(aside)
    used = shutil.disk_usage(folder).used
    mount("-o", f"remount,size={used + room}", str(folder))


def mount(*arguments: str) -> None:
    """Run mount. Raises SkippedTry where it is refused."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SkippedTry(f"no disk can be mounted: {done.stderr.strip()}")
