"""`make setup`: what stands in its way is named before anything is installed, and what is installed stays."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def write_command(path: Path, script: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile and what it installs from."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def make_setup(project: Path, python: Path | str, system: str = "Linux") -> subprocess.CompletedProcess[str]:
    """Run `make setup` on a machine whose `uname` says `system`."""
    commands = write_command(project.parent / "bin" / "uname", f"echo {system}").parent
    return subprocess.run(
        ["make", "setup", f"PYTHON={python}"],
        cwd=project,
        env={**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "MAKEFLAGS": "", "INSTALLER": "uv"},
        capture_output=True,
        text=True,
    )


def python_of(version: tuple[int, int], project: Path) -> Path:
    """Return a Python that says it is of `version`, and whose environments have a pip that finds nothing."""
    major, minor = version
    pip = "echo pip >> ../calls; exit 1"
    script = f"""case $1 in
--version) echo Python {major}.{minor}.0;;
-c) exec python3 -c "import sys; sys.version_info = ({major}, {minor}); $2";;
-m) mkdir -p .venv/bin; printf '#!/bin/sh\\n{pip}\\n' > .venv/bin/pip; chmod +x .venv/bin/pip;;
esac"""
    return write_command(project.parent / "python", script)


@pytest.mark.parametrize("system", ["Darwin", "MINGW64_NT-10.0"])
def test_another_system_is_named(project: Path, system: str) -> None:
    result = make_setup(project, python_of((3, 11), project), system)
    assert result.returncode != 0
    assert f"needs Linux; this system is {system}" in result.stderr
    assert not (project / ".venv").exists()


def test_a_missing_python_is_named(project: Path) -> None:
    result = make_setup(project, "python-that-is-nowhere")
    assert result.returncode != 0
    assert "There is no python-that-is-nowhere. Install Python 3.11 or later" in result.stderr


def test_an_old_python_is_named(project: Path) -> None:
    result = make_setup(project, python_of((3, 10), project))
    assert result.returncode != 0
    assert "is Python 3.10.0; this software needs Python 3.11 or later" in result.stderr
    assert not (project / ".venv").exists()


def test_the_oldest_python_of_pyproject_installs_and_a_failure_names_the_other_way(project: Path) -> None:
    oldest = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert oldest
    result = make_setup(project, python_of((3, int(oldest[1])), project))
    assert result.returncode != 0
    assert (project.parent / "calls").read_text() == "pip\n"
    assert "make setup INSTALLER=pip" in result.stderr
    assert not (project / ".venv" / "installed").exists()


def test_what_is_installed_is_installed_again_only_for_other_versions(project: Path) -> None:
    stamp = write_command(project / ".venv" / "installed", "")
    assert make_setup(project, "python-that-is-nowhere").returncode == 0
    os.utime(project / "constraints.txt", (stamp.stat().st_mtime + 1,) * 2)
    assert make_setup(project, "python-that-is-nowhere").returncode != 0
