"""`cosmos export`: its output for people and programs, and outputs that it refuses."""

import json
from pathlib import Path

import pytest

from cosmos.cli import main
from cosmos.config.machine import Machine
from cosmos.errors import InputError
from cosmos.run.files import remove_abandoned
from cosmos.stages.export import export_plain_clip
from tests.crash_points import killed_at_each_operation
from tests.model.examples import written


def test_the_files_and_the_code_that_loads_them_are_printed_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, output = written(tmp_path), tmp_path / "clip.pt"
    monkeypatch.setattr("sys.argv", ["cosmos", "export", str(checkpoint), str(output), "--json"])
    main()
    printed = json.loads(capsys.readouterr().out)
    assert (printed["output"], printed["which"]) == (str(output), "teacher")
    assert printed["config"] == str(tmp_path / "clip.json")
    assert printed["code"].splitlines()[-1] == f"open_clip.create_model('clip', pretrained='{output}')"
    assert output.exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("c.pt", "the checkpoint itself, which would be lost"),
        ("clip.json", r"\.json is the config's suffix"),
        (".", "a folder; give the file to write"),
    ],
)
def test_an_output_that_is_in_use_or_no_file_is_refused(tmp_path: Path, output: str, message: str) -> None:
    checkpoint = written(tmp_path)
    before = checkpoint.read_bytes()
    with pytest.raises(InputError, match=message):
        export_plain_clip(str(checkpoint), tmp_path / output, "teacher", Machine())
    assert checkpoint.read_bytes() == before


def test_an_export_that_is_killed_at_any_moment_leaves_whole_files_and_is_done_by_the_same_command(
    tmp_path: Path,
) -> None:
    checkpoint, output = written(tmp_path), tmp_path / "out" / "clip.pt"

    def export() -> None:
        export_plain_clip(str(checkpoint), output, "teacher", Machine())

    export()
    whole = {path: path.read_bytes() for path in output.parent.iterdir()}
    for _ in killed_at_each_operation(export, output.parent):
        assert all(whole[path] == path.read_bytes() for path in output.parent.glob("clip.*"))
        export()
        remove_abandoned(output.parent)  # which a process does by itself when it first writes there
        assert {path: path.read_bytes() for path in output.parent.iterdir()} == whole
        output.unlink()
