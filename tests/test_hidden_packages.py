import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos.hidden_packages import HIDDEN, hiding, pausing_collection
from tests.stages.examples import ROOT

BROKEN = (*HIDDEN["open_clip"], "tensorboard", "tensorflow", "optuna", "dvc", "boto3", "s3fs", "plotly")
"""Packages whose installed copies may be broken: they fail as soon as they are imported."""

USED = (
    "training.trainer",
    "stages.prepare",
    "stages.evaluate",
    "stages.export",
    "registry.commands",
    "compare.commands",
)
"""Modules of commands that need none of these: prepare, pretrain, evaluate, export, lists, comparisons."""


@pytest.mark.slow
def test_training_evaluation_and_lists_import_no_package_that_they_do_not_need(tmp_path: Path) -> None:
    for name in BROKEN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('{name} is broken')")
    imports = ", ".join(f"cosmos.{name}" for name in USED)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", f"import {imports}"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_package_is_hidden_for_a_while_unless_it_is_loaded() -> None:
    with hiding(["os", "this"]):
        assert sys.modules["os"] is os
        assert sys.modules["this"] is None
    assert "this" not in sys.modules


def test_no_garbage_is_looked_for_while_a_large_package_is_imported() -> None:
    with pausing_collection():
        with pausing_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_no_garbage_is_looked_for_when_a_process_ends() -> None:
    code = """
import cosmos
class Knot:
    def __init__(self): self.itself = self
    def __del__(self): print("collected")
knot = Knot()
print("end")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("end\n", "")
