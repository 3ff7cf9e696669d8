"""A Prefect server with the flows and a worker, of a checkout of one's own."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.stages.examples import TINY
from tests.workspaces import settings

UP = [sys.executable, "-m", "flows.server", "up"]
DOWN = [sys.executable, "-m", "flows.server", "down"]
LASTING = TINY.replace("epochs: 3", "epochs: 3000").replace("every_epochs: 3", "every_epochs: 0")
FINAL = ("Completed", "Failed", "Crashed", "Cancelled")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class Served:
    """Server and worker that `make serve` runs, in a folder."""

    folder: Path
    port: int = field(default_factory=free_port)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        serving = {"PREFECT_SERVER_API_PORT": str(self.port), "PREFECT_API_URL": self.api}
        return {**settings(self.folder), **serving}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the API's answer; a refusal is an HTTPStatusError. A server that is busy is asked again."""
        for _ in range(5):
            answer = httpx.post(f"{self.api}{path}", json=body, timeout=30)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(2)
        return answer.raise_for_status().json()

    def deployment(self, name: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.api}/deployments/name/{name}", timeout=30)
        deployment: dict[str, Any] = answer.raise_for_status().json()
        return deployment

    def form(self, name: str) -> dict[str, Any]:
        """Fields of the form of a deployment, by name."""
        fields: dict[str, Any] = self.deployment(name)["parameter_openapi_schema"]["properties"]
        return fields

    def begin(self, name: str, **parameters: Any) -> str:
        """A new flow run of a deployment."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.post(f"/deployments/{self.deployment(name)['id']}/create_flow_run", body)["id"])

    def flow_run(self, run: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.api}/flow_runs/{run}", timeout=30)
        flow_run: dict[str, Any] = answer.raise_for_status().json()
        return flow_run

    def state(self, run: str) -> str:
        return str(self.flow_run(run)["state"]["name"])

    def of(self, run: str, kind: str) -> list[dict[str, Any]]:
        """Task runs or artifacts of a flow run, or its log."""
        where = {"logs": {"logs": {"flow_run_id": {"any_": [run]}}}}
        items: list[dict[str, Any]] = self.post(
            f"/{kind}/filter", where.get(kind, {"flow_runs": {"id": {"any_": [run]}}})
        )
        return items

    def log(self, run: str) -> str:
        return "\n".join(line["message"] for line in self.of(run, "logs"))

    def wait_for(self, condition: Callable[[], object], seconds: float = 400) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.folder / ".prefect" / "worker.log").read_text()[-5000:]
            time.sleep(0.5)

    def wait_for_state(self, run: str, *states: str) -> str:
        self.wait_for(lambda: self.state(run) in states)
        return self.state(run)

    def pipeline(self, run: str) -> Path:
        """Folder of the pipeline of a flow run that has begun its first task."""
        self.wait_for(lambda: self.flow_run(run)["labels"].get("cosmos.pipeline"))
        return self.folder / str(self.flow_run(run)["labels"]["cosmos.pipeline"])

    def steps(self, pipeline: str | Path = "pipeline") -> int:
        """Steps that a pipeline's pretraining has come to."""
        pointer = self.folder / pipeline / "model.run"
        if not pointer.exists():
            return 0
        metrics = self.folder / pointer.read_text().strip() / "metrics.jsonl"
        return len(metrics.read_text().splitlines()) if metrics.exists() else 0
