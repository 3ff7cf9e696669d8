import signal
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from cosmos.config.experiment import Experiment, merge_sections
from cosmos.config.params import Params
from cosmos.errors import InputError, Interrupted
from cosmos.run.directory import RunDir, load_saved_params, open_run, run_name, run_path
from cosmos.run.files import file_label, write_text


def with_epochs(epochs: int) -> Params:
    return Params.model_validate(merge_sections(Params().model_dump(), {"pretrain": {"epochs": epochs}}))


def named(name: str, params: Params) -> Experiment:
    return Experiment(name, params, needs={}, about="", cost="", expected="")


def test_a_run_keeps_the_parameters_it_was_started_with(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", with_epochs(3))
    assert load_saved_params(run) == with_epochs(3)
    assert open_run(tmp_path / "run", with_epochs(3)) == run


def test_another_pretraining_in_the_same_directory_is_refused_with_what_differs(tmp_path: Path) -> None:
    open_run(tmp_path / "run", with_epochs(3))
    with pytest.raises(ValueError, match=r"pretrain\.epochs: 3 -> 4(.|\n)*--run"):
        open_run(tmp_path / "run", with_epochs(4))


def test_of_two_pretrainings_that_begin_at_once_in_a_directory_the_second_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_another_meanwhile(path: Path, text: str) -> None:
        monkeypatch.undo()
        second.append(others.submit(open_run, tmp_path / "run", with_epochs(4)))
        wait(second, timeout=0.2)
        write_text(path, text)

    second: list[Future[RunDir]] = []
    monkeypatch.setattr("cosmos.run.directory.write_text", begin_another_meanwhile)
    with ThreadPoolExecutor() as others:
        run = open_run(tmp_path / "run", with_epochs(3))
    with pytest.raises(InputError, match=r"pretrain\.epochs: 3 -> 4"):
        second[0].result()
    assert load_saved_params(run) == with_epochs(3)


@pytest.mark.parametrize("share", [0, 0.5])
def test_parameters_that_were_cut_short_are_named_and_are_no_others(tmp_path: Path, share: float) -> None:
    run = open_run(tmp_path / "run", Params())
    lines = run.params.read_text().splitlines(keepends=True)
    run.params.write_text("".join(lines[: int(share * len(lines))]))
    with pytest.raises(InputError, match=r"run/params\.yaml: cut short, without .*pretrain"):
        open_run(tmp_path / "run", Params())


def test_runs_are_named_by_experiment_and_parameters() -> None:
    assert run_name(named("clip", with_epochs(3))).startswith("clip-")
    assert run_name(named("clip", with_epochs(3))) != run_name(named("clip", with_epochs(4)))


def test_checkpoints_sort_by_step() -> None:
    run = RunDir(Path("runs/x"))
    assert sorted([run.checkpoint(100), run.checkpoint(9)]) == [run.checkpoint(9), run.checkpoint(100)]


def test_what_a_launcher_and_a_writer_leave_lies_beside_the_rest() -> None:
    run = RunDir(Path("runs/x"))
    assert [run.job.name, run.jobs.name, run.lease.name] == ["job.json", "jobs", "writer.json"]


def test_an_interruption_says_which_signal_asked_for_it() -> None:
    assert Interrupted("stopped").signal == 0
    stop = Interrupted("stopped", signal.SIGUSR2)
    assert (str(stop), stop.signal) == ("stopped", signal.SIGUSR2)


def test_results_of_a_named_checkpoint_do_not_take_the_place_of_the_runs_own() -> None:
    run = RunDir(Path("runs/x"))
    own, other = run.result_file("retrieval"), run.result_file("retrieval", "runs/y/step-00000009.pt")
    assert own.name == "retrieval.json"
    assert other.name == "retrieval-runs-y-step-00000009.pt.json"
    published = RunDir(Path("runs") / file_label("published:cosmos_vitb16_cc3m"))
    assert published.result_file("retrieval", "published:cosmos_vitb16_cc3m").name == "retrieval.json"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is no name"),
        (" ", "is no name"),
        (".", "is a path"),
        ("..", "is a path"),
        ("../..", "is a path"),
        ("a/../../b", "is a path"),
        ("./a", "is a path"),
        ("/tmp/a", "is a path"),
        (".a", "begins with a dot"),
        ("sweep/.a", "begins with a dot"),
        ("-rf", "begins with a dash"),
        ("a\nb", "cannot be printed"),
        ("a\x1b[31m", "cannot be printed"),
        ("a\udcff", "cannot be printed"),
        ("é" * 128, "is longer than 255 bytes"),
        ("file", "is a file"),
        ("run/checkpoints/a", "lies inside another run"),
    ],
)
def test_the_name_of_a_run_leads_nowhere_else(tmp_path: Path, name: str, problem: str) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "file").touch()
    open_run(runs / "run", with_epochs(3))
    with pytest.raises(InputError, match=rf"^--run: .* {problem}.*; give a name such as .*runs") as error:
        run_path(runs, name, "--run")
    assert str(error.value).isprintable()


def test_names_of_runs_may_have_spaces_folders_and_links(tmp_path: Path) -> None:
    (tmp_path / "disk" / "mine").mkdir(parents=True)
    (tmp_path / "large disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    (tmp_path / "runs" / "newest").symlink_to("mine")
    (tmp_path / "runs" / "away").symlink_to(tmp_path / "large disk")
    names = ("mine", "newest", "away", "new", "a sweep/trial-3", "größe", "mine/")
    assert all(run_path(tmp_path / "runs", name, "--run") == tmp_path / "runs" / name for name in names)
