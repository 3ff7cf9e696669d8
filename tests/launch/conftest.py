import os
from pathlib import Path

import pytest

from cosmos.launch import watch
from tests.launch.examples import Launcher

ROOT = Path(__file__).parent.parent.parent
ON_SLURM = pytest.param("slurm", marks=pytest.mark.slurm)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs find the calls of these tests."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)


@pytest.fixture(autouse=True)
def one_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a job wrote last is seen at once: nothing is waited for, and ends are noticed soon."""
    monkeypatch.setattr(watch, "GRACE", 1.0)
    monkeypatch.setattr(watch, "FILE_POLL", 0.05)
    monkeypatch.setattr(watch, "SHORTEST_POLL", 0.2)


@pytest.fixture(params=["debug", "local", ON_SLURM])
def launcher(request: pytest.FixtureRequest, tmp_path: Path) -> Launcher:
    """`launch` on every cluster."""
    return Launcher(request.param, tmp_path)


@pytest.fixture(params=["local", ON_SLURM])
def job_launcher(request: pytest.FixtureRequest, tmp_path: Path) -> Launcher:
    """`launch` where jobs are processes of their own."""
    return Launcher(request.param, tmp_path)
