from pathlib import Path

import pytest

from cosmos.config.experiment import read_mapping
from cosmos.config.machine import Machine
from cosmos.errors import InputError

ROOT = Path(__file__).parents[2]


def test_the_example_of_a_machine_names_every_setting_with_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("COSMOS_CLUSTER", "COSMOS_WANDB__MODE"):  # which conftest.py sets
        monkeypatch.delenv(name, raising=False)
    example = read_mapping(ROOT / "machine.example.yaml")
    defaults = Machine(_env_file=None)
    assert example.keys() == Machine.model_fields.keys()
    assert Machine(**example) == defaults


def test_the_machine_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "machine.yaml").write_text("workers: 7\nruns_root: elsewhere\n")
    monkeypatch.setenv("COSMOS_WORKERS", "5")
    machine = Machine()
    assert (machine.workers, machine.runs_root) == (5, Path("elsewhere"))


def test_a_single_key_of_a_job_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_SLURM__PARTITION", "gpu")
    monkeypatch.setenv("COSMOS_SLURM__SBATCH", '["--exclusive"]')
    request = Machine().slurm
    assert (request.partition, request.sbatch) == ("gpu", ("--exclusive",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers: many", r"machine\.yaml:\n  workers: .*integer.*'many'"),
        ("slurm: {nodez: 2}", r"slurm\.nodez: no such key; machine\.example\.yaml lists them all"),
        ("wandb: {projekt: x}", r"wandb\.projekt: no such key; machine\.example\.yaml lists them all"),
        ("workers: [", r"machine\.yaml: not YAML: while parsing"),
        ("- 1", r"machine\.yaml: expected sections such as .*, found list"),
    ],
)
def test_a_setting_that_does_not_fit_is_the_users_to_mend(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "machine.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        Machine()


def test_a_variable_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_STORAGE_OPTIONS", "{")
    with pytest.raises(InputError, match="storage_options"):
        Machine()
