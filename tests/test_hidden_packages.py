import os
import subprocess
import sys
from pathlib import Path

import pytest

from cosmos.hidden_packages import HIDDEN, hiding
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
