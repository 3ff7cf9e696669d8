import gc
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from cosmos.launch import slurm
from tests.memory import memory_with_room

# Of what is imported and collected nothing is garbage: looking for some takes a third of the time.
gc.disable()

# Tests share two cores with each other; one thread each also makes float sums the same on every machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Tests set folders and cluster themselves, whatever the settings of this shell and machine are.
for name in [
    name for name in os.environ if name.startswith(("COSMOS_", "WANDB_")) and name != "COSMOS_PARITY_DIR"
]:
    del os.environ[name]
if "COSMOS_PARITY_DIR" in os.environ:  # of the tests, no setting
    os.environ["COSMOS_FOREIGN_VARIABLES"] = '["COSMOS_PARITY_DIR"]'
for name in ("COLUMNS", "LINES"):  # of this shell, or of a worker of xdist's
    os.environ.pop(name, None)
os.environ["COSMOS_CLUSTER"] = "debug"
os.environ["COSMOS_WANDB__MODE"] = "disabled"

# Each command of DVC would start another process, which tells its makers of it.
os.environ["DVC_NO_ANALYTICS"] = "1"

# The machine may be busy with other things.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

NEEDED_ROOM = 2 << 30
"""Bytes of free memory from which on it has the files of tests, 0.3 GB; their processes need some, too."""

# A shell starts what runs in its background with Ctrl-C ignored, which children would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--in-memory", action="store_true", help="keep files of tests in memory, if it has room")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.in_memory and (memory := memory_with_room(NEEDED_ROOM)):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))
    if hasattr(config, "workerinput"):  # a process of xdist's, which imports everything to collect its tests
        from tests.forks import fork_server_here  # imports torch, after the variables above are set

        fork_server_here()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(20_000)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("slurm")]
    for item in needing:
        item.add_marker(pytest.mark.xdist_group("slurm"))
    # first, since they take longest; in one process, one after another, since there is one Slurm
    items.sort(key=lambda item: item.get_closest_marker("slurm") is None)
    if needing and not slurm.answers():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="no Slurm answers here; `make slurm-up` brings one up"))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and a prepared dataset."""
    from tests.stages.examples import TINY, cosmos  # imports torch, after the variables above are set

    folder = tmp_path_factory.mktemp("stages")
    (folder / "tiny.yaml").write_text(TINY)
    done = cosmos(folder, "prepare")
    assert done.returncode == 0, done.stderr
    return folder
