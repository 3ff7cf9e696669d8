"""Watchers of one job that is preempted for good: it is submitted again once, within one bound."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cosmos.config.job_request import JobRequest
from cosmos.launch import submission, watch
from cosmos.launch.outcome import CallFiles
from cosmos.launch.slurm import JobState
from cosmos.launch.task import RankPlace, Task, run_in_this_process
from tests.faults.children import fork_child
from tests.faults.commands import Running
from tests.faults.tries import Try, check_manners
from tests.faults.works import PRETRAIN, SWEEP
from tests.faults.world import succeed

LIMIT = 3
"""Times that a job may be started again."""

LASTING = 0.3
"""Seconds after which a job is preempted."""


@dataclass(frozen=True)
class PreemptingCluster:
    """Cluster whose first jobs are preempted for good; the others run in processes of their own.

    The first one waits for the file `go`. Each job is a line of the file `queue`.
    """

    place: Path
    preemptions: int

    def submit(
        self,
        tasks: Sequence[Task],
        request: JobRequest,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
    ) -> str:
        job = {
            "name": name,
            "limit": request.max_requeues,
            "folder": str(folder),
            "submitted": time.monotonic(),
        }
        with (self.place / "queue").open("a") as file:
            file.write(json.dumps(job) + "\n")
        number = len(self.jobs())
        if number > self.preemptions:
            place = RankPlace("debug", name, 0, 1, 0, (), 0, folder / "log.txt")
            fork_child(lambda: succeed(lambda: run_in_this_process(tasks[0], place, "")))
        return str(number)

    def jobs(self) -> list[dict[str, Any]]:
        """Jobs that were submitted, in their order."""
        queue = self.place / "queue"
        return [json.loads(line) for line in queue.read_text().splitlines()] if queue.exists() else []

    def find(self, name: str) -> str:
        return next((str(number) for number, job in enumerate(self.jobs(), 1) if job["name"] == name), "")

    def states(self, job_id: str, name: str, num_calls: int) -> list[JobState]:
        job = self.jobs()[int(job_id) - 1]
        if int(job_id) > self.preemptions:
            has_failed = CallFiles(Path(job["folder"]), 0).first_failure() is not None
            return [JobState("FAILED" if has_failed else "RUNNING")]
        lasts = time.monotonic() - job["submitted"] < LASTING or not (self.place / "go").exists()
        return [JobState("RUNNING" if lasts else "PREEMPTED")]

    def cancel(self, job_id: str, name: str) -> None:
        raise AssertionError("nobody cancels")

    def replace_clusters(self, seconds: float) -> None:
        """Have this process, a command's, submit here, and look at jobs every so many seconds."""
        patch.object(submission, "open_cluster", lambda name: self).start()
        patch.object(watch, "FILE_POLL", seconds).start()
        patch.object(watch, "SHORTEST_POLL", 0.0).start()
        patch.object(watch, "GRACE", 0.0).start()


def attempt(attempt: Try) -> None:
    """Give commands that watch one job, which is preempted for good a number of times."""
    attempt.copy_world()
    cluster = PreemptingCluster(attempt.place, attempt.rng.randint(1, LIMIT + 1))
    attempt.tell(f"{cluster.preemptions} jobs are preempted for good, of {LIMIT} that may be")
    (watch_sweep if attempt.rng.random() < 0.3 else watch_pretraining)(attempt, cluster)


def watch_pretraining(attempt: Try, cluster: PreemptingCluster) -> None:
    """Watch a pretraining's job by several commands that submit, and by one that only attaches."""
    commands = [start(attempt, cluster, *PRETRAIN.arguments) for _ in range(attempt.rng.choice([2, 2, 3]))]
    for command in commands:
        await_text(command, "attached;", "submitted;")
    attached = start(attempt, cluster, "attach", "again")
    (attempt.place / "go").touch()
    ended = [command.wait() for command in commands]
    check_manners(attached.wait())
    status = 0 if cluster.preemptions <= LIMIT else 75
    for end in ended:
        check_manners(end)
        assert end.status == status, f"another status than {status}\n{end.describe()}"
    limits = [job["limit"] for job in cluster.jobs()]
    assert limits == list(range(LIMIT, LIMIT - min(cluster.preemptions, LIMIT) - 1, -1)), f"jobs: {limits}"
    PRETRAIN.finish(attempt)


def watch_sweep(attempt: Try, cluster: PreemptingCluster) -> None:
    """Watch the job of a sweep's trial by two controllers, and by a command that only attaches."""
    first = start(attempt, cluster, *SWEEP.arguments)
    while not cluster.jobs():
        assert time.monotonic() - first.started < 60, "no trial begins"
        time.sleep(0.05)
    (trial,) = attempt.place.glob("runs/small-*/trial-0002")
    attached = start(attempt, cluster, "attach", str(trial.relative_to(attempt.place / "runs")))
    second = start(attempt, cluster, *SWEEP.arguments)
    time.sleep(attempt.rng.uniform(0, 1))
    (attempt.place / "go").touch()
    for command in (first, second, attached):
        ended = command.wait()
        check_manners(ended)
        assert ended.status in (0, 74, 75), f"not a status of a preemption\n{ended.describe()}"
    expected = min(cluster.preemptions, LIMIT) + 1
    assert len(cluster.jobs()) <= expected + 1, f"{len(cluster.jobs())} jobs in place of {expected}"
    SWEEP.finish(attempt)


def start(attempt: Try, cluster: PreemptingCluster, *arguments: str) -> Running:
    """Start a command that looks at jobs now and then: a slow one misses some of them."""
    seconds = attempt.rng.choice([0.02, 0.1, 0.5, 1.0])
    return attempt.start(
        *arguments,
        meddle=lambda: cluster.replace_clusters(seconds),
        cluster="local",
        slurm__max_requeues=str(LIMIT),
    )


def await_text(command: Running, *texts: str) -> None:
    """Wait until a command has printed one of the texts."""
    while not any(text in command.log.read_text(errors="replace") for text in texts):
        assert time.monotonic() - command.started < 60, f"{command.command} does not begin"
        time.sleep(0.02)
