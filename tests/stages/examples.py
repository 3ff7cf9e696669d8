"""The command, on a demo world of a few images."""

import os
import subprocess
import sys
from pathlib import Path

from cosmos.__main__ import main
from tests.forks import run_forked

ROOT = Path(__file__).parent.parent.parent
TINY = """
data: {samples_per_shard: 16, demo: {num_train: 40, num_heldout: 12, image_size: 48}}
views: {image_size: 32, local_size: 16, num_local_crops: 1}
model:
  inline:
    embed_dim: 16
    vision: {width: 16, layers: 1, head_width: 8}
    text: {width: 16, layers: 1, heads: 2}
pretrain: {epochs: 3, batch_size: 8, warmup_steps: 2, log_every_steps: 1, evaluate_every_epochs: 3}
"""


def environment(folder: Path, **machine: str) -> dict[str, str]:
    settings = {
        "DATA_ROOT": str(folder / "data"),
        "RUNS_ROOT": str(folder / "runs"),
        "DEVICE": "cpu",
        **machine,
    }
    return {**os.environ, "OMP_NUM_THREADS": "1", **{f"COSMOS_{k}": v for k, v in settings.items()}}


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "cosmos", *arguments, "--experiment", str(folder / "tiny.yaml")]


def cosmos(folder: Path, *arguments: str, **machine: str) -> subprocess.CompletedProcess[str]:
    env = environment(folder, **machine)
    return run_forked(main, command(folder, *arguments)[3:], ROOT, env)
