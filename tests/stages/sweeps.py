"""Evaluations of several checkpoints, from a process that can be killed."""

import subprocess
import sys
from pathlib import Path

from cosmos.launch.submission import read_submission
from tests.stages.examples import ROOT, environment
from tests.stages.test_pretrain_job import heeding_ctrl_c

SWEEP = """
import json, sys
from dataclasses import asdict
from cosmos.config.machine import Machine
from cosmos.config.experiment import load_experiment
from cosmos.stages.evaluate_sweep import evaluate_many

def tell(text):
    sys.stderr.write(text)
    sys.stderr.flush()

*checkpoints, file = sys.argv[1:]
rows = evaluate_many(checkpoints, ["retrieval", "classification"], load_experiment(file), Machine(), tell)
assert "torch" not in sys.modules
print(json.dumps([asdict(row) for row in rows]))
"""


def sweep(folder: Path, *checkpoints: str, **machine: str) -> "subprocess.Popen[str]":
    """evaluate_many in a process of its own."""
    settings = {"CLUSTER": "local", "SLURM__MINUTES": "10", "WORKERS": "0", "SOURCE_ROOT": str(folder)}
    with heeding_ctrl_c():
        return subprocess.Popen(
            [sys.executable, "-c", SWEEP, *checkpoints, str(folder / "tiny.yaml")],
            cwd=ROOT,
            env=environment(folder, **{**settings, **machine}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def job_ids(folder: Path) -> list[str]:
    """The jobs on record."""
    records = [read_submission(path) for path in folder.glob("*.json")]
    return [record.job_id for record in records if record]
