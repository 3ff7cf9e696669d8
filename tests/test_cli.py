import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from cosmos.__main__ import main
from cosmos.cli import run_command
from cosmos.cli.commands import COMMANDS
from cosmos.errors import InputError
from tests.forks import run_forked
from tests.registry.run_files import make_run

ROOT = Path(__file__).parent.parent


def cosmos(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return run_forked(main, arguments, cwd, os.environ)


HELPED = (
    "", "params", "prepare", "plan", "pretrain", "runs", "runs list", "jobs", "attach run", "sweep",
    "dashboard", "compare", "promote", "experiments", "evaluate", "evaluate retrieval", "report", "export",
)  # fmt: skip


def test_help_answers_without_importing_torch() -> None:
    code = f"""
import contextlib, io, sys
from cosmos.cli import main
for command in {HELPED}:
    sys.argv = ["cosmos", *command.split(), "--help"]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as output:
            main()
    except SystemExit as end:
        assert not end.code, command
    assert output.getvalue().startswith("usage: cosmos"), command
    assert "torch" not in sys.modules, command
    assert command or "pydantic" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_lists_import_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    make_run(tmp_path / "runs" / "one")
    code = """
import contextlib, io, sys
from cosmos.cli import run_arguments
for command in ("runs list", "jobs", "datasets", "compare one"):
    with contextlib.redirect_stdout(io.StringIO()):
        run_arguments(command.split())
    heavy = {"torch", "pandas", "matplotlib", "plotly", "optuna", "wandb", "pyarrow", "scipy", "prefect"}
    assert heavy.isdisjoint(sys.modules), (command, heavy & sys.modules.keys())
import cosmos.search.study_plots, optuna.visualization  # for `compare` of a sweep
assert {"torch", "pandas", "matplotlib", "redis", "wandb", "pyarrow", "prefect"}.isdisjoint(sys.modules)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_names_default_and_meaning_of_a_knob() -> None:
    text = " ".join(cosmos("pretrain", "--help").stdout.split())
    assert "--pretrain.epochs int passes over the training split (default: 3)" in text


def test_a_description_of_several_paragraphs_is_not_indented() -> None:
    assert "best first.\n\nThe best is the largest" in cosmos("runs", "best", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "--pretrain.epochs", "many"], "\n  pretrain.epochs: Input should be a valid integer"),
        (["runs", "list", "--limit", "-1"], "\n  limit: Input should be"),
        (["verify", "{a}"], "cosmos verify: an argument that begins with [ or { is read as JSON"),
        (["pretrain", "--experiment", "clipp"], "experiments/clipp.yaml: no such file; near it: clip"),
        (["pretrain", "--views.local_size", "30"], "views.local_size: 30 is not a multiple"),
        (
            ["sweep", "zzz"],
            "zzz: no such file, and no such sweep in experiments/sweeps; there are: demo",
        ),
    ],
)
def test_mistakes_end_in_a_message_that_names_them(arguments: list[str], message: str) -> None:
    done = cosmos(*arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("params --pretrain.epoch 3", r"no argument --pretrain\.epoch; near it: --pretrain\.epochs, "),
        ("params --epochs=3", r"no argument --epochs=3; near it: --pretrain\.epochs; `cosmos params --help`"),
        ("params --seed 3", r"near it: --data\.seed, --pretrain\.seed;"),
        ("params --pretrain {}", r"no argument --pretrain; near it: --pretrain\.epochs, "),
        ("params extra", r"no argument extra; `cosmos params --help` describes the command"),
        ("params --pretrain.seed 3 --pretrain.seed=4", r"--pretrain\.seed: given twice; keep one of them"),
        ("params --json --no-json", r"--json and --no-json: given twice"),
        ("params --experiment", r"argument --experiment: expected one argument"),
        ("pretrian", r"no command pretrian; near it: pretrain; `cosmos --help`"),
        ("runs lits", r"no command lits; near it: list; `cosmos runs --help`"),
        ("runs", r"a command is missing; `cosmos runs --help` lists them"),
        ("", r"a command is missing; `cosmos --help` lists them"),
        ("sweep", r"required: NAME; `cosmos sweep --help`"),
        (
            "pretrain --data.source folder --data.images a",
            r"--data\.source, --data\.images: `cosmos prepare` takes",
        ),
        ("evaluate --data.seed 3", r"--data\.seed: `cosmos prepare` takes that; here --data\.name names"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused_in_a_line(
    arguments: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cosmos", *arguments.split()])
    with pytest.raises(InputError, match=message) as refused:
        run_command()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        ("--data.max_pixels=1e6", "data.max_pixels", 1_000_000),
        ("--pretrain.learning_rate 1e-4", "pretrain.learning_rate", 1e-4),
        ("--pretrain.precision bf16", "pretrain.precision", "bf16"),
        ("--evaluate.models student --evaluate.models teacher", "evaluate.models", ["student", "teacher"]),
        ("--evaluate.models teacher,student", "evaluate.models", ["teacher", "student"]),
        ("--data.name 2024", "data.name", "2024"),
    ],
)
def test_an_option_is_taken_as_meant(
    arguments: str,
    path: str,
    value: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["cosmos", "params", "--json", *arguments.split()])
    run_command()
    section, key = path.split(".")
    assert json.loads(capsys.readouterr().out)[section][key] == value


def test_an_output_may_begin_with_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["cosmos", "params", "--output=~/resolved.yaml"])
    run_command()
    assert (tmp_path / "resolved.yaml").is_file()


def commands(name: str, command: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield a command and the commands below it, by name."""
    yield name, command
    for key, field in command.model_fields.items():
        for below in get_args(field.annotation):
            if isinstance(below, type) and issubclass(below, BaseModel):
                yield from commands(f"{name} {key}", below)


def test_every_command_with_a_result_prints_it_as_json_on_request() -> None:
    classes = [item for name, entry in COMMANDS.items() for item in commands(name, entry.load())]
    without = [name for name, command in classes if "as_json" not in command.model_fields]
    assert without == ["runs", "dashboard"]


def test_parameters_in_the_environment_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_PRETRAIN__EPOCHS", "9")
    monkeypatch.setattr(sys, "argv", ["cosmos", "params"])
    with pytest.raises(InputError, match=r"COSMOS_PRETRAIN__EPOCHS: parameters never come from the environ"):
        run_command()


@pytest.mark.parametrize(
    "command",
    [["pretrain", "--run"], ["pretrain", "--tags", "a", "--run"], ["evaluate", "--run"], ["promote"]],
)
def test_a_run_that_is_no_folder_of_runs_is_refused_before_anything_is_written(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    before = (tmp_path / "params.yaml").stat().st_mtime_ns
    monkeypatch.chdir(tmp_path)
    option = "RUN" if command == ["promote"] else "--run"
    for name in ("..", "../..", str(tmp_path / "a"), "a\nb", ""):
        monkeypatch.setattr(sys, "argv", ["cosmos", *command, name])
        with pytest.raises(InputError, match=rf"^{option}: .*give a name such as"):
            run_command()
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
    assert (tmp_path / "params.yaml").stat().st_mtime_ns == before


def test_outside_of_a_project_the_missing_file_is_named(tmp_path: Path) -> None:
    done = cosmos("pretrain", cwd=tmp_path)
    assert "params.yaml: no such file; run from the root of the project" in done.stderr


def test_resolved_parameters_are_printed_or_written_down(tmp_path: Path) -> None:
    asked = ["params", "--experiment", "clip", "--pretrain.epochs", "5"]
    printed = cosmos(*asked).stdout
    assert yaml.safe_load(printed) == json.loads(cosmos(*asked, "--json").stdout)
    assert cosmos(*asked, "--output", str(tmp_path / "resolved.yaml")).stdout == ""
    assert (tmp_path / "resolved.yaml").read_text() == printed
    params = yaml.safe_load(printed)
    assert (params["name"], params["pretrain"]["epochs"]) == ("clip", 5)


def test_experiments_without_names_are_a_table_and_names_are_whole() -> None:
    lines = cosmos("experiments").stdout.splitlines()
    assert lines[0].split() == ["experiment", "data", "model", "GPUs", "per", "GPU"]
    assert any(line.startswith("vitb16-cc3m ") for line in lines)
    assert not any(line.endswith(" ") for line in lines[1:])


def test_a_dry_run_of_a_sweep_has_the_number_of_trials_that_is_asked_for() -> None:
    assert "\n5 trials of " in cosmos("sweep", "demo", "--trials", "5", "--dry-run").stdout


def test_a_disk_that_fails_has_an_exit_status_of_its_own(tmp_path: Path) -> None:
    command = f"ulimit -f 0; exec {sys.executable} -m cosmos params --output {tmp_path / 'resolved.yaml'}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 74
    assert done.stderr.startswith("cosmos: ")


def test_a_full_disk_below_the_output_is_named() -> None:
    done = subprocess.run(
        ["bash", "-c", f"exec {sys.executable} -m cosmos params > /dev/full"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 74
    assert done.stderr.startswith("cosmos: the standard output: No space left on device; free space there")


def test_a_path_that_cannot_be_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = cosmos("params", "--output", str(tmp_path / "file" / "resolved.yaml"))
    assert done.returncode == 2
    assert done.stderr.startswith("cosmos: ")


def cosmos_unread(command: str) -> tuple[int, str]:
    """Run a command whose output nobody reads, and return its exit status and its messages."""
    pipeline = f"set -o pipefail; {sys.executable} -m cosmos {command} | true"
    done = subprocess.run(["bash", "-c", pipeline], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", ["params", "params --json", "experiments"])
def test_output_that_nobody_reads_ends_a_command_quietly(command: str) -> None:
    assert cosmos_unread(command) == (141, "")


def test_help_that_nobody_reads_is_no_failure() -> None:
    status, messages = cosmos_unread("export --help")
    assert status in (0, 141)  # argparse passes over what it cannot write
    assert messages == ""


def test_a_mistake_is_reported_also_where_nobody_reads_the_output() -> None:
    status, messages = cosmos_unread("params --experiment no-such")
    assert status == 2
    assert "experiments/no-such.yaml: no such file" in messages


def test_a_command_without_standard_output_is_no_failure(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m cosmos params --output {tmp_path / 'resolved.yaml'} >&-"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_output_cannot_encode_is_shown_as_escapes(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "überlauf-試験")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "cosmos", "runs", "list"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    heading, row = done.stdout.decode("latin-1").splitlines()
    assert row.startswith("überlauf-\\u8a66\\u9a13  ")
    assert heading.index("status") == row.index("finished")
