"""Sweeps from their beginning to what they came to."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import SecretStr

from cosmos.config.job_request import JobRequest
from cosmos.config.machine import ClusterName, Machine
from cosmos.config.sweep import Sweep
from cosmos.data.manifest import MANIFEST_FILE
from cosmos.launch.clusters import resolve_cluster
from cosmos.registry.sweep_directory import SweepDir, TrialRecord
from cosmos.run import provenance
from cosmos.run.files import write_json
from cosmos.run.labels import RunLabels
from cosmos.run.lease import Lease
from cosmos.search.conclusion import Conclusion, conclude
from cosmos.search.controller import Controller
from cosmos.search.study import importances, load_study, open_study
from cosmos.search.trials import Jobs, end_job
from cosmos.stages.pretrain_job import check_before_queue


@dataclass(frozen=True)
class Sweeping:
    """A sweep, and where and how its trials run."""

    sweep: Sweep
    folder: SweepDir
    machine: Machine
    jobs: Jobs
    parallel: int
    """trials at a time"""
    num_trials: int
    """trials that are to finish or to be pruned"""

    def trials(self) -> Iterator[TrialRecord]:
        """Searches, and repeats the best; yields each trial as it begins and as it ends.

        Goes on from where it stands. Trials that run go on where this is stopped. Raises ValueError where
        trials cannot be begun or most of them fail, and SupersededError when another process leads on.
        """
        from cosmos.tracking.mirror import mirroring

        self.folder.write_definition(self.sweep)
        RunLabels(self.sweep.id, "search", (self.sweep.name,)).write(self.folder.own)
        with mirroring(self.folder.own, self.machine.wandb):
            study = open_study(self.sweep, self.folder, self.machine)
            controller = Controller(self.sweep, self.folder, study, self.jobs, self.parallel)
            yield from controller.search(self.num_trials)
            yield from controller.repeat()

    def conclusion(self) -> Conclusion:
        """What the sweep has come to so far, which is also written down."""
        study = load_study(self.folder, self.machine)
        figures = [objective.figure for objective in self.sweep.file.objectives]
        found = conclude(self.sweep, self.folder, importances(study, figures))
        write_json(self.folder.best, found.as_json())
        return found


def prepared(sweep: Sweep, machine: Machine, num_trials: int, parallel: int) -> Sweeping:
    """A sweep with all that it needs; 0 trials: as its file says, 0 in parallel: as the machine bears.

    ValueError where the data is not prepared, or a trial does not fit the job that is asked for.
    """
    request = machine.slurm.over(sweep.needs)
    check_before_queue(sweep.base, machine, request)
    manifest = machine.dataset(sweep.base.data.name, "train") / MANIFEST_FILE
    sweep = replace(sweep, data=provenance.file_sha256(manifest))
    cluster = sweep_cluster(machine)
    if cluster == "slurm":
        at_a_time = parallel or request.array_parallelism
    else:
        at_a_time = parallel or cores_over(request.cpus_per_task)
        request = sharing(request, at_a_time)
    return Sweeping(
        sweep,
        SweepDir(machine.runs_root.absolute() / sweep.id),
        machine,
        Jobs(trial_machine(machine), cluster, request, tuple(sweep.suites)),
        at_a_time,
        num_trials or sweep.file.trials,
    )


def sweep_cluster(machine: Machine) -> ClusterName:
    """Where trials run: in processes of their own at least, unless this process is asked for by name.

    What runs in this process can be neither pruned nor run beside another.
    """
    cluster = resolve_cluster(machine.cluster)
    return "local" if cluster == "debug" and machine.cluster == "auto" else cluster


def cores_over(cores: int) -> int:
    """Trials that this machine's cores bear."""
    return max(1, (os.cpu_count() or 1) // cores)


def sharing(request: JobRequest, parallel: int) -> JobRequest:
    """The request of a trial that has its share of this machine: more threads than cores make all crawl."""
    share = max(1, (os.cpu_count() or 1) // (parallel * request.ranks_per_node))
    return request.model_copy(update={"cpus_per_task": min(request.cpus_per_task, share)})


def trial_machine(machine: Machine) -> Machine:
    """The machine as a trial's job gets it: without the study's password, and with one checkpoint a trial."""
    return machine.model_copy(
        update={
            "study_storage": SecretStr(""),
            "keep_checkpoints": 1,
            "runs_root": machine.runs_root.absolute(),
            "data_root": machine.data_root.absolute(),
        }
    )


def cancel_sweep(folder: SweepDir, quiet: bool) -> dict[str, Any]:
    """Ends the jobs of a sweep's trials; a controller that runs stops at its next look. What is saved stays.

    ValueError where nobody can say how a job stands.
    """
    Lease.take(folder.own)
    sweep = folder.sweep()
    ended = [trial for trial in folder.trials if trial.state == "running" and end_job(folder.run(trial))]
    told = {"sweep": sweep.id, "trials": [one.name for one in ended], "jobs": [one.job for one in ended]}
    if not quiet:
        said = f"jobs cancelled: {', '.join(told['jobs'])}" if ended else "no trial's job was alive"
        print(f"{sweep.id}: {said}; the same sweep command goes on from what is saved")
    return told
