"""The script that sbatch gets, without a Slurm."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from cosmos.config.job_request import JobRequest
from cosmos.launch.outcome import CallFiles, RankFailure
from cosmos.launch.sbatch import UNSEEN_FOLDER, node_check, privacy_check, requeue_script, sbatch_script


def script(folder: Path, **request: object) -> list[str]:
    return sbatch_script(JobRequest.model_validate(request), "cosmos-run-a1", folder).splitlines()


def test_a_job_ends_where_its_folder_is_no_longer_its_own(tmp_path: Path) -> None:
    folder, other = tmp_path / "a'b c", tmp_path / "other"
    folder.mkdir(mode=0o700)
    other.mkdir(mode=0o700)

    def check() -> tuple[int, str]:
        done = subprocess.run(["bash", "-c", privacy_check(folder)], capture_output=True, text=True)
        return done.returncode, done.stdout

    assert check() == (0, "")
    folder.chmod(0o2750)
    assert check() == (0, "")
    for mode in (0o770, 0o707):
        folder.chmod(mode)
        status, said = check()
        assert (status, f"{folder}: no longer the folder of this job" in said) == (2, True)
    folder.rmdir()
    folder.symlink_to(other)
    assert check()[0] == 2


def test_a_job_of_several_nodes_ends_where_one_cannot_write_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a'b c"
    folder.mkdir()
    on_this_node = 'srun() { while [ "$1" != sh ]; do shift; done; "$@"; }; timeout() { shift; "$@"; }'

    def check(nodes: int, srun: str = on_this_node) -> tuple[int, str]:
        env = {"SLURM_JOB_NUM_NODES": str(nodes), "SLURMD_NODENAME": "node7", "PATH": os.environ["PATH"]}
        lines = "\n".join([srun, node_check(folder)])
        done = subprocess.run(["bash", "-c", lines], env=env, capture_output=True, text=True)
        return done.returncode, done.stdout

    assert check(2) == (0, "")
    folder.rmdir()
    assert check(1) == (0, "")
    assert check(2) == (74, f"node7: {folder}: {UNSEEN_FOLDER}\n")
    assert check(2, "timeout() { return 1; }") == (0, "")  # a node does not answer: the ranks' step says so


def test_a_job_that_left_no_value_is_requeued_unless_its_folder_was_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "a'b c"

    def requeued() -> bool:
        ending = "\n".join(["squeue() { echo RUNNING; }", "scontrol() { :; }", *requeue_script(folder, 3)])
        done = subprocess.run(["bash", "-c", ending], env={}, capture_output=True, text=True)
        assert done.returncode == 0
        return "stopped early: requeued" in done.stdout

    assert not requeued()
    folder.mkdir()
    assert requeued()
    (folder / "value-0.json").touch()
    assert not requeued()


def test_a_job_whose_ranks_hang_is_requeued_whatever_its_status(tmp_path: Path) -> None:
    folder, files = tmp_path / "a'b [c]", CallFiles(tmp_path / "a'b [c]", 0)
    folder.mkdir()

    def says(requeues: int) -> str:
        ending = requeue_script(folder, 3)[1:]
        commands = ["squeue() { echo RUNNING; }", "scontrol() { :; }", "status=143", *ending]
        env = {"SLURM_RESTART_COUNT": str(requeues), "SLURM_JOB_NUM_NODES": "1"}
        return subprocess.run(
            ["bash", "-c", "\n".join(commands)], env=env, capture_output=True, text=True
        ).stdout

    failure = RankFailure(1, 0, "node0", "HangError", "", 1.0, "HangError", "rank 1 hangs")
    files.write_failure(failure)
    assert says(0) == "ranks waited in vain for others: requeued\n"
    files.write_failure(replace(failure, requeues=1, kind="InputError"))
    assert says(1) == ""
    files.write_failure(replace(failure, requeues=4))
    assert says(4) == ""


def test_what_is_asked_for_is_in_the_script(tmp_path: Path) -> None:
    lines = script(
        tmp_path,
        nodes=4,
        gpus_per_node=8,
        cpus_per_task=6,
        memory_gb=1.5,
        minutes=90,
        partition="gpu",
        account="vision",
        qos="long",
        constraint="a100",
        warning_seconds=300,
    )
    for line in [
        "--job-name=cosmos-run-a1",
        "--nodes=4",
        "--gpus-per-node=8",
        "--ntasks-per-node=8",
        "--cpus-per-task=6",
        "--mem=1536M",
        "--time=90",
        "--partition=gpu",
        "--account=vision",
        "--qos=long",
        "--constraint=a100",
        "--signal=USR2@300",
        "--requeue",
        "--open-mode=append",
    ]:
        assert f"#SBATCH {line}" in lines


def test_what_is_not_asked_for_is_left_to_the_site(tmp_path: Path) -> None:
    options = {line.split()[1].split("=")[0] for line in script(tmp_path) if line.startswith("#SBATCH")}
    assert options.isdisjoint({"--partition", "--account", "--qos", "--constraint", "--mem", "--wckey"})
    assert options.isdisjoint({"--gpus-per-node"})


def test_a_site_s_own_lines_and_commands_are_taken_over(tmp_path: Path) -> None:
    lines = script(
        tmp_path, sbatch=["--reservation=spring break", "--exclusive"], setup=["module load cuda/12.8"]
    )
    assert "#SBATCH --reservation='spring break'" in lines
    assert "#SBATCH --exclusive" in lines
    srun = next(index for index, line in enumerate(lines) if line.startswith("srun"))
    assert lines.index("module load cuda/12.8") < srun


def test_the_copy_of_the_code_comes_first_whatever_its_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "a folder; with $odd 'signs'"
    lines = script(folder)
    exports = "\n".join(line for line in lines if line.startswith("export PYTHON"))
    completed = subprocess.run(
        ["bash", "-c", f"PYTHONPATH=before\n{exports}\necho $PYTHONPATH"], capture_output=True, text=True
    )
    assert completed.stdout.strip() == f"{folder}/code:before"


def test_a_process_computes_on_the_cores_it_asked_for(tmp_path: Path) -> None:
    assert 'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-6}"' in script(tmp_path, cpus_per_task=6)


def test_bash_understands_the_script(tmp_path: Path) -> None:
    text = "\n".join(script(tmp_path / "it's here", nodes=2))
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
