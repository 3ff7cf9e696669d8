"""Log of the trials of a sweep that ended: its metrics.jsonl, with one line for each."""

from pathlib import Path

from cosmos.run.metrics import MetricsWriter, read_metrics
from cosmos.run.sweep_directory import TrialRecord


class EndedTrialsLog:
    """Writer of a line for each trial or repetition that ended, whoever leads the sweep meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open the file at `path`. Raises TransientError where the disk is full or fails."""
        lines = read_metrics(path)
        self.logged = {(str(line.get("trial")), str(line.get("seed"))) for line in lines}
        self.numbers = [line["trial"] for line in lines if line.get("seed") == 0 and "trial" in line]
        """numbers of the trials that ended, without repetitions, in the order of their ends"""
        steps = (line.get("step") for line in lines)
        self.num_ended = max((step for step in steps if isinstance(step, int)), default=0)
        self.metrics = MetricsWriter(path, self.num_ended)

    def add(self, record: TrialRecord) -> None:
        """Append the line of a trial that ended, unless it is there."""
        key = (str(record.number), str(record.seed))
        if key not in self.logged:
            self.logged.add(key)
            self.num_ended += 1
            self.numbers += [] if record.seed else [record.number]
            broken = {"broken_constraints": len(record.breaches)} if record.breaches else {}
            self.metrics.log(
                {"step": self.num_ended, "trial": record.number, "seed": record.seed} | record.values | broken
            )
