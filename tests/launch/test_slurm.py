"""States and ids of jobs from the output of Slurm's programs, as a real one printed it."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cosmos.config.job_request import JobRequest
from cosmos.errors import InputError, TransientError
from cosmos.launch import slurm
from cosmos.launch.clusters import resolve_cluster
from cosmos.launch.outcome import CallFiles
from cosmos.launch.pickled_call import JOB_SECRETS
from cosmos.launch.sbatch import SlurmCluster
from cosmos.launch.slurm import JobState
from cosmos.launch.task import Task

RUNNING = (
    "JobId=12 JobName=cosmos-JobState=odd UserId=root(0) JobState=RUNNING Reason=None Dependency=(null) "
    "Requeue=1 Restarts=1 BatchFlag=1 ExitCode=0:0 RunTime=00:00:21 TimeLimit=00:20:00 NodeList=node[0-1] "
    "NumNodes=2 Command=/tmp/x.sh TresPerNode=gres:gpu:2"
)
ELEMENTS = """\
JobId=21 ArrayJobId=20 ArrayTaskId=1 JobName=x JobState=FAILED Reason=NonZeroExitCode Restarts=0 ExitCode=3:0 NodeList=node0
JobId=20 ArrayJobId=20 ArrayTaskId=2-6:2,7%2 JobName=x JobState=PENDING Reason=JobArrayTaskLimit Restarts=0 ExitCode=0:0 NodeList=(null)
"""  # noqa: E501


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **said: str) -> None:
    """Programs that print what they are told, and no others of Slurm's."""
    for name, text in said.items():
        (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        (folder / name).chmod(0o755)
    (folder / "cat").symlink_to("/bin/cat")
    monkeypatch.setenv("PATH", str(folder))


def test_a_job_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, scontrol=RUNNING, squeue="12 19:39")
    assert slurm.job_states("12", 1) == [JobState("RUNNING", "", "node[0-1]", "19:39", "", 1)]


def test_elements_of_an_array_that_wait_share_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, scontrol=ELEMENTS, squeue="")
    states = slurm.job_states("20", 8)
    waiting = [index for index, state in enumerate(states) if state.state == "PENDING"]
    assert waiting == [2, 4, 6, 7]
    assert (states[0].state, states[1].state) == ("GONE", "FAILED")
    assert states[1].exit_status == "3"
    assert states[2].reason == "JobArrayTaskLimit"


def test_accounting_remembers_what_the_queue_forgot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = "20_0|COMPLETED|0:0|node0\n20_1|CANCELLED by 1000|0:9|node1\n20_[2-3%2]|FAILED|1:0|node1"
    programs(tmp_path, monkeypatch, scontrol="", squeue="", sacct=recorded)
    states = slurm.job_states("20", 4)
    assert [state.state for state in states] == ["COMPLETED", "CANCELLED", "FAILED", "FAILED"]
    assert states[1].exit_status == "signal 9"


def test_what_the_queue_forgot_does_not_run_whatever_the_accounts_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, scontrol="", squeue="", sacct="20|RUNNING|0:0|node0")
    assert slurm.job_states("20", 1) == [JobState("GONE")]


def test_without_accounting_a_forgotten_job_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, squeue="")
    (tmp_path / "scontrol").write_text(
        "#!/bin/sh\necho slurm_load_jobs: Invalid job id specified >&2; exit 1\n"
    )
    (tmp_path / "scontrol").chmod(0o755)
    assert slurm.job_states("20", 1) == [JobState("GONE")]
    assert slurm.job_states("20", 1)[0].is_final


def test_a_silent_controller_is_no_end_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, sbatch="")
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho Unable to contact slurm controller >&2\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    with pytest.raises(slurm.SlurmSilentError, match="Unable to contact"):
        slurm.job_states("20", 1)
    assert not slurm.answers()


def test_questions_to_a_silent_controller_may_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, sbatch="")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "sbatch"))
    for variable in ("RANK", "SLURM_JOB_ID"):
        monkeypatch.delenv(variable, raising=False)
    for program in ("scontrol", "squeue", "scancel"):
        (tmp_path / program).write_text("#!/bin/sh\necho Unable to contact slurm controller >&2\nexit 1\n")
        (tmp_path / program).chmod(0o755)
    questions: list[Callable[[], object]] = [
        lambda: slurm.job_states("20", 1),
        lambda: slurm.find_job("name"),
        lambda: slurm.cancel_job("20"),
        lambda: resolve_cluster("auto"),
        lambda: SlurmCluster().submit([], JobRequest(), "name", tmp_path, {}),
    ]
    for question in questions:
        with pytest.raises(TransientError, match="try again once"):
            question()


def test_what_slurm_refuses_is_no_matter_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, sbatch="", scontrol="")
    (tmp_path / "scancel").write_text("#!/bin/sh\necho Access/permission denied >&2\nexit 1\n")
    (tmp_path / "scancel").chmod(0o755)
    with pytest.raises(InputError, match="scancel 20: Access/permission denied"):
        slurm.cancel_job("20")


def test_a_job_is_found_by_its_name_in_the_queue_or_the_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, squeue="20\n20", sacct="")
    assert slurm.find_job("name") == "20"
    (tmp_path / "squeue").write_text("#!/bin/sh\n")
    (tmp_path / "sacct").write_text("#!/bin/sh\necho 20_0; echo 20_1\n")
    assert slurm.find_job("name") == "20"
    (tmp_path / "sacct").unlink()
    assert slurm.find_job("name") == ""


@pytest.mark.parametrize(
    ("code", "words"), [("0:0", ""), ("1:0", "1"), ("0:9", "signal 9"), ("137:0", "137 (signal 9)")]
)
def test_exit_statuses_are_told_in_words(
    code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, scontrol=f"JobId=1 JobState=FAILED ExitCode={code}", squeue="")
    assert slurm.job_states("1", 1)[0].exit_status == words


def test_there_is_no_slurm_where_there_is_no_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not slurm.answers()
    assert os.environ["PATH"] == str(tmp_path)


def test_the_queue_and_the_accounts_are_asked_once_for_many_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(
        tmp_path, monkeypatch, scontrol=RUNNING, squeue="", sacct="20_0|COMPLETED|0:0|node0\n30|FAILED|1:0|n"
    )
    answers = '#!/bin/sh\necho "$0 $*" >> asked\ncase "$*" in *%F) echo 12 ;; *%L) echo 12 19:39 ;; esac\n'
    (tmp_path / "squeue").write_text(answers)
    monkeypatch.chdir(tmp_path)
    states = slurm.states_of_jobs({"12": 1, "20": 2, "30": 1, "40": 1})
    assert states["12"] == [JobState("RUNNING", "", "node[0-1]", "19:39", "", 1)]
    assert [state.state for state in (*states["20"], *states["30"])] == ["COMPLETED", "GONE", "FAILED"]
    assert states["40"] == [JobState("GONE")]
    assert (tmp_path / "asked").read_text().count("squeue --noheader") == 2


def test_a_program_that_hangs_is_a_silent_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, sbatch="")
    for program in ("scontrol", "squeue"):
        (tmp_path / program).write_text("#!/bin/sh\nexec /bin/sleep 60\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setattr(slurm, "SILENCE_SECONDS", 0.1)
    for question in (lambda: slurm.job_states("20", 1), lambda: slurm.states_of_jobs({"20": 1, "21": 1})):
        with pytest.raises(slurm.SlurmSilentError, match=r"nothing in 0\.1 s"):
            question()
    assert not slurm.answers()


@pytest.mark.parametrize("num_tasks", [1, 2])
def test_a_submission_leaves_the_environment_of_its_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_tasks: int
) -> None:
    programs(tmp_path, monkeypatch, scontrol="", sbatch="")
    (tmp_path / "sbatch").write_text(
        f"#!/bin/sh\n/usr/bin/env >{tmp_path}/seen.txt\n/bin/sleep 0.2\necho Submitted batch job 12\n"
    )
    outer = {"RANK", "SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS", "SBATCH_PARTITION"}
    for name in (*outer, "SLURM_CONF"):
        monkeypatch.setenv(name, "6")
    (folder := tmp_path / "job").mkdir()
    before, observed = dict(os.environ), list[dict[str, str]]()
    files, secrets = CallFiles(folder, 0), {JOB_SECRETS: "[]"}
    tasks = [Task(b"", files, folder / "job.json", "1a2b3c4d", 1)] * num_tasks
    with ThreadPoolExecutor() as pool:
        submission = pool.submit(SlurmCluster().submit, tasks, JobRequest(), "name", folder, secrets)
        while not submission.done():
            observed.append(dict(os.environ))
    assert submission.result() == "12"
    assert all(environment == before for environment in observed)
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen.txt").read_text().splitlines())
    assert (seen["SLURM_CONF"], seen[JOB_SECRETS]) == ("6", "[]")
    assert outer.isdisjoint(seen)
    names = ["12_submitted.pkl"] if num_tasks == 1 else ["12_0_submitted.pkl", "12_1_submitted.pkl"]
    assert sorted(path.name for path in folder.glob("*.pkl")) == names
    assert ("#SBATCH --array=0-1%" in (folder / "12_submission.sh").read_text()) == (num_tasks > 1)
