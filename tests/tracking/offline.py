"""What W&B's own reader finds in the offline files of a run directory."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class OfflineRun:
    """What `wandb sync` would show, of all sessions together."""

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
    found = OfflineRun()
    for file in sorted((run_dir / "wandb").glob("offline-run-*/run-*.wandb")):
        found.num_sessions += 1
        for record in records(file):
            take(found, record)
    return found


def records(file: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return [json.loads(line) for line in told.stdout.splitlines()]


def take(found: OfflineRun, record: dict[str, Any]) -> None:
    kind = record["type"]
    content = record[kind]
    if kind == "run":
        found.id, found.name = content["run_id"], content["display_name"]
        found.group, found.job_type = content.get("run_group", ""), content.get("job_type", "")
        found.tags = tuple(content.get("tags", ()))
        found.config |= {key: value for key, value in content["config"]["update"].items() if key != "_wandb"}
    elif kind == "summary":
        found.summary |= content["update"]
    elif kind == "history":
        found.history.append(content["item"])
    elif kind == "artifact":
        found.artifacts.append(content)
