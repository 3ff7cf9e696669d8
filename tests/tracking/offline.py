"""Offline files of a run directory, read by W&B's own reader."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class OfflineRun:
    """Run as `wandb sync` would show it, of all sessions together."""

    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    num_sessions: int = 0

    @property
    def steps(self) -> list[int]:
        return [row["_step"] for row in self.history]


def read_offline(run_dir: Path) -> OfflineRun:
    offline_run = OfflineRun()
    for file in sorted((run_dir / "wandb").glob("offline-run-*/run-*.wandb")):
        offline_run.num_sessions += 1
        for record in records(file):
            take(offline_run, record)
    return offline_run


def records(file: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return [json.loads(line) for line in told.stdout.splitlines()]


def take(offline_run: OfflineRun, record: dict[str, Any]) -> None:
    kind = record["type"]
    content = record[kind]
    if kind == "run":
        offline_run.id, offline_run.name = content["run_id"], content["display_name"]
        offline_run.group, offline_run.job_type = content.get("run_group", ""), content.get("job_type", "")
        offline_run.tags = tuple(content.get("tags", ()))
        offline_run.config |= {
            key: value for key, value in content["config"]["update"].items() if key != "_wandb"
        }
    elif kind == "summary":
        offline_run.summary |= content["update"]
    elif kind == "history":
        offline_run.history.append(content["item"])
    elif kind == "artifact":
        offline_run.artifacts.append(content)
