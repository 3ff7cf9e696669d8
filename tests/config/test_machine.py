from pathlib import Path

import pytest

from cosmos.config.machine import Machine
from cosmos.config.settings_file import read_mapping
from cosmos.errors import InputError

ROOT = Path(__file__).parents[2]


def test_the_example_of_a_machine_names_every_setting_with_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("COSMOS_CLUSTER", "COSMOS_WANDB__MODE"):  # which conftest.py sets
        monkeypatch.delenv(name, raising=False)
    example = read_mapping(ROOT / "machine.example.yaml")
    defaults = Machine()
    assert example.keys() == Machine.model_fields.keys()
    assert Machine(**example) == defaults


def test_the_machine_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "machine.yaml").write_text("workers: 7\nruns_root: elsewhere\n")
    monkeypatch.setenv("COSMOS_WORKERS", "5")
    machine = Machine(device="cpu")
    assert (machine.workers, machine.runs_root, machine.device) == (5, Path("elsewhere"), "cpu")
    assert Machine(workers=1).workers == 1
    with pytest.raises(InputError, match=r"workers: .* not a Boolean \(given: True, in arguments\)"):
        Machine(workers=True)


def test_a_single_key_of_a_job_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_SLURM__PARTITION", "gpu")
    monkeypatch.setenv("COSMOS_SLURM__SBATCH", '["--exclusive"]')
    request = Machine().slurm
    assert (request.partition, request.sbatch) == ("gpu", ("--exclusive",))


def machine_from(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine_yaml: str = "",
    env_file: str = "",
    **variables: str,
) -> Machine:
    """Return the settings of a machine with these files and variables alone."""
    monkeypatch.chdir(folder)
    for name in ("COSMOS_CLUSTER", "COSMOS_WANDB__MODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (folder / "machine.yaml").write_text(machine_yaml)
    (folder / ".env").write_text(env_file)
    return Machine()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nworkers: many", r"\n  workers: .*integer.*\(given: 'many', in machine\.yaml, line 2\)"),
        ("wrokers: 1", r"wrokers: no such key; near it: workers; machine\.example\.yaml lists them all"),
        ("partition: gpu", r"partition: no such key; near it: slurm\.partition, "),
        ("slurm: {nodez: 2}", r"slurm\.nodez: no such key; near it: nodes; .*line 1"),
        ("wandb: {projekt: x}", r"wandb\.projekt: no such key; near it: project;"),
        ("Workers: 1", r"Workers: no such key; near it: workers;"),
        ("wandb: {api_key: s3cret}", r"wandb\.api_key: no such key; machine\.example\.yaml \D+ line 1\)$"),
        ("study_storage: [db://u:s3cret@h]", r"study_storage: \D+ \(in machine\.yaml, line 1\)$"),
        ("storage_options: key=s3cret", r"storage_options: expected keys and values below it \(in machine"),
        ("data_root: $SCRATCH/data", r"data_root: variables such as \$HOME are not expanded here; write ~"),
        ("data_root: ${HOME}/data", r"data_root: variables .*\(given: '\$\{HOME\}/data', in .* line 1\)"),
        ("slurm: gpu", r"slurm: expected keys and values below it \(given: 'gpu', in machine\.yaml, line 1"),
        ("workers: true", r"workers: expected a number, not a Boolean"),
        ("runs_root: 2024", r"runs_root: expected a text, not a number; put it in quotes"),
        ("runs_root: ''", r"runs_root: expected a folder; \. is the current one"),
        ("data_root: ~no-such-user/data", r"data_root: ~no-such-user/data: Could not determine home"),
        ("workers:", r"workers: has no value; give it one, or delete the key \(in machine\.yaml, line 1\)"),
        ("foreign_variables: COSMOS_DB_*", r"foreign_variables: expected a list, .*line 1"),
        ("slurm: {sbatch: --exclusive}", r"slurm\.sbatch: expected a list"),
        ("slurm: {minutes: 1, warning_seconds: 90}", r"slurm: warning_seconds: 90 s .* minutes: 1,.*line 1"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_file_and_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=message):
        machine_from(tmp_path, monkeypatch, text)


def test_a_problem_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as refused:
        machine_from(tmp_path, monkeypatch, "slurm: {nodes: 0}")
    assert str(refused.value).count("\n") == 1


def test_empty_sections_and_texts_are_taken_as_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "slurm:\n  partition: no\n  qos: 2024-01-01\n  minutes: 1\nwandb:\nstorage_options:\ncompile: on\n"
    machine = machine_from(tmp_path, monkeypatch, text, COSMOS_CHECKPOINT_EVERY_MINUTES="1e-1")
    assert (machine.slurm.partition, machine.slurm.qos, machine.slurm.minutes) == ("no", "2024-01-01", 1)
    assert (machine.wandb.mode, machine.storage_options.get_secret_value(), machine.compile) == (
        "auto",
        {},
        True,
    )
    assert machine.checkpoint_every_minutes == 0.1


def test_a_folder_in_place_of_machine_yaml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "machine.yaml").mkdir()
    (tmp_path / ".env").mkdir()  # a virtual environment, which is none of ours
    with pytest.raises(InputError, match=r"machine\.yaml: cannot be read \(Is a directory\); .*move it away"):
        Machine()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "COSMOS_DEVISE",
            "cpu",
            r"^COSMOS_DEVISE: no such setting; near it: COSMOS_DEVICE; foreign_variables",
        ),
        ("COSMOS_SLURM_PARTITION", "gpu", r"near it: COSMOS_SLURM__PARTITION"),
        ("COSMOS_SLURM__PARTITON", "gpu", r"near it: COSMOS_SLURM__PARTITION"),
        ("COSMOS_WORKERS__X", "1", r"COSMOS_WORKERS__X: no such setting; near it: COSMOS_WORKERS"),
        (
            "COSMOS_KEY",
            "s3cret",
            r"^COSMOS_KEY: no such setting; machine\.example\.yaml lists them all; \D+$",
        ),
        (
            "COSMOS_PRETRAIN__EPOCHS",
            "3",
            r"parameters never come from the environment; .*--pretrain\.epochs$",
        ),
        (
            "COSMOS_SLURM__SBATCH",
            "--a,--b",
            r"""COSMOS_SLURM__SBATCH: '--a,--b' is no JSON list; write \S+='\["--a", "--b"\]'""",
        ),
        ("COSMOS_SLURM__SBATCH", "['--a']", r"""; write COSMOS_SLURM__SBATCH='\["--a"\]'$"""),
        ("COSMOS_SLURM", "gpu", r"COSMOS_SLURM: 'gpu' is no JSON; set one key, as with COSMOS_SLURM__NODES"),
        ("COSMOS_SLURM", '{"nodes": 1, "nodes": 2}', r"COSMOS_SLURM: nodes stands twice in its JSON"),
        ("COSMOS_SLURM__NODES", "x", r"slurm\.nodes: .*\(given: 'x', in COSMOS_SLURM__NODES\)"),
        ("COSMOS_SLURM", '{"nodez": 1}', r"slurm\.nodez: no such key; .*in COSMOS_SLURM\)"),
        ("COSMOS_WORKERS", "", r"COSMOS_WORKERS is empty; give it a value, or unset it"),
        ("COSMOS_DATA_ROOT", "", r"COSMOS_DATA_ROOT is empty"),
        ("COSMOS_WANDB__PATIENCE_SECONDS", "inf", r"patience_seconds: expected a finite number"),
        ("cosmos_cluster", "debug", r"(?i)cosmos_cluster and cosmos_cluster set the same; unset one"),
        ("COSMOS_STORAGE_OPTIONS", "key=s3cret", r"^COSMOS_STORAGE_OPTIONS: is no JSON; write \D+$"),
    ],
)
def test_a_variable_that_does_not_fit_is_named_with_its_remedy(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        Machine()


def test_variables_of_other_programs_and_of_launchers_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"COSMOS_DB_URL": "x", "COSMOS_DB_KEY": "y", "COSMOS_JOB": "{}"}
    machine_from(tmp_path, monkeypatch, "foreign_variables: [COSMOS_DB_*]", **variables)
    with pytest.raises(InputError, match=r"^COSMOS_DB_KEY: no such setting"):
        machine_from(tmp_path, monkeypatch, "", COSMOS_FOREIGN_VARIABLES='["COSMOS_DB_URL"]')


def test_a_variable_for_a_single_key_wins_over_one_for_its_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"COSMOS_SLURM__NODES": "3", "COSMOS_SLURM": '{"nodes": 2, "minutes": 9}'}
    slurm = machine_from(tmp_path, monkeypatch, "slurm: {minutes: 8, qos: low}", **variables).slurm
    assert (slurm.nodes, slurm.minutes, slurm.qos) == (3, 9, "low")
    assert machine_from(tmp_path, monkeypatch, "slurm: {qos: low}", COSMOS_SLURM__QOS="").slurm.qos == ""


def test_variables_in_the_env_file_lose_to_the_environment_and_win_over_machine_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = "WANDB_API_KEY=key\nexport COSMOS_WORKERS=5 # few\nCOSMOS_DEVICE='cpu'\n"
    machine = machine_from(tmp_path, monkeypatch, "workers: 7\ndevice: cuda", env_file, COSMOS_WORKERS="4")
    assert (machine.workers, machine.device) == (4, "cpu")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "# mine\nCOSMOS_DEVISE=cpu",
            r"^COSMOS_DEVISE in \.env, line 2: no such setting; near it: COSMOS_DEVICE",
        ),
        ("COSMOS_WORKERS=many", r"workers: .*\(given: 'many', in COSMOS_WORKERS in \.env, line 1\)"),
        ("COSMOS_WORKERS=1\n\nCOSMOS_WORKERS=2", r"\.env: COSMOS_WORKERS stands twice, in lines 1 and 3"),
        ("A=1\nCOSMOS_WORKERS", r"\.env, line 2: expected NAME=value, not 'COSMOS_WORKERS'"),
        ("COSMOS_WORKERS='1", r"\.env, line 1: expected NAME=value"),
    ],
)
def test_a_wrong_line_of_the_env_file_is_named(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=message):
        machine_from(tmp_path, monkeypatch, "", text)


def test_an_env_file_that_is_not_utf8_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes("A=1\nNAME=\u00e9".encode("latin-1"))
    with pytest.raises(InputError, match=r"\.env, line 2: byte 0xe9 is not UTF-8"):
        Machine()


def test_values_of_the_env_file_that_grow_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubled = "".join(f"A{number + 1}=${{A{number}}}${{A{number}}}\n" for number in range(60))
    with pytest.raises(InputError, match=r"^\.env, line 1\d: with what \$\{\.\.\.\} stands for, A\d+ is too"):
        machine_from(tmp_path, monkeypatch, env_file=f"A0=ha\n{doubled}")
    env_file = "A=1\nCOSMOS_WORKERS=${A}${B:-2}\nA=3\nCOSMOS_DEVICE=${NAME}\n"
    machine = machine_from(tmp_path, monkeypatch, env_file=env_file, NAME="cpu")
    assert (machine.workers, machine.device) == (12, "cpu")


@pytest.mark.parametrize(("switch", "meaning"), [("true", "all"), ("false", "none"), ("cheap", "cheap")])
def test_activation_checkpointing_was_a_switch_and_is_read_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str, meaning: str
) -> None:
    text = f"activation_checkpointing: {switch}\n"
    assert machine_from(tmp_path, monkeypatch, text).activation_checkpointing == meaning
    variables = {"COSMOS_ACTIVATION_CHECKPOINTING": switch}
    assert machine_from(tmp_path, monkeypatch, **variables).activation_checkpointing == meaning
