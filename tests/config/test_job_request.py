import pytest
from pydantic import ValidationError

from cosmos.config.job_request import JobRequest
from cosmos.errors import InputError


def test_a_site_s_settings_come_before_what_an_experiment_needs() -> None:
    site = JobRequest(partition="gpu", gpus_per_node=8)
    request = site.over({"nodes": 4, "gpus_per_node": 4})
    assert (request.nodes, request.gpus_per_node, request.partition) == (4, 8, "gpu")
    assert request.minutes == JobRequest().minutes


def test_needs_that_do_not_fit_are_the_users_to_mend() -> None:
    with pytest.raises(InputError, match=r"slurm, of the machine .*:\n  nodes: .*greater than 0"):
        JobRequest().over({"nodes": 0})


@pytest.mark.parametrize(
    ("request_", "ranks"),
    [
        (JobRequest(), 1),
        (JobRequest(nodes=2, gpus_per_node=4), 8),
        (JobRequest(nodes=2, gpus_per_node=4, tasks_per_node=1), 2),
        (JobRequest(tasks_per_node=3), 3),
    ],
)
def test_there_is_one_process_for_each_gpu(request_: JobRequest, ranks: int) -> None:
    assert request_.num_ranks == ranks


@pytest.mark.parametrize("line", ["--reservation=spring break", "--exclusive", "--mail-type=END"])
def test_a_site_s_own_sbatch_lines_are_taken_as_they_are(line: str) -> None:
    assert JobRequest(sbatch=(line,)).sbatch == (line,)


@pytest.mark.parametrize("line", ["reservation=spring", "-p gpu", "--x=1\n#SBATCH --y", "#SBATCH --x"])
def test_lines_that_are_no_long_option_are_refused(line: str) -> None:
    with pytest.raises(ValidationError, match="sbatch"):
        JobRequest(sbatch=(line,))


@pytest.mark.parametrize(
    ("line", "remedy"),
    [("--output=x", "relies on its own"), ("--wait", "relies on its own"), ("--time=5", "set slurm.minutes")],
)
def test_lines_that_would_undo_the_job_s_own_are_refused(line: str, remedy: str) -> None:
    with pytest.raises(ValidationError, match=remedy):
        JobRequest(sbatch=(line,))


def test_a_warning_comes_after_the_start() -> None:
    with pytest.raises(
        ValidationError, match=r"warning_seconds: 120 s before the limit of minutes: 2, .*raise"
    ):
        JobRequest(minutes=2, warning_seconds=120)


@pytest.mark.parametrize(("minutes", "seconds"), [(1, 30), (3, 90), (4, 120), (1440, 120)])
def test_the_default_of_a_warning_leaves_any_time_limit_valid(minutes: int, seconds: int) -> None:
    assert JobRequest(minutes=minutes).warning_seconds == seconds
    assert JobRequest().over({"minutes": minutes}).warning_seconds == seconds
