import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cosmos
from cosmos.errors import DamagedDataError, TransientError
from cosmos.run import provenance
from cosmos.run.code_state import PACKAGE, CodeState
from cosmos.run.provenance import (
    code_state,
    code_version,
    file_sha256,
    freeze_code,
    read_sessions,
    record_session,
    source_digest,
)
from cosmos.run.session_history import describe_sessions
from tests.forks import run_dvc
from tests.run.examples import dataset_version, git

SAY = """
import json
from dataclasses import asdict
from cosmos.run import provenance
print(json.dumps({
    "from": str(provenance.PACKAGE),
    "state": asdict(provenance.code_state()),
    "version": provenance.code_version(),
    "session": provenance.describe_session({"device": "cpu"}),
    "digest": provenance.source_digest(),
}))
"""


def said_by(code: Path, cwd: Path) -> dict[str, Any]:
    env = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(code)}
    done = subprocess.run([sys.executable, "-c", SAY], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.fixture
def other_checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "other"
    folder.mkdir()
    git(folder, "init")
    (folder / "a.txt").write_text("a")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "another project")
    (folder / "a.txt").write_text("b")
    return folder


@pytest.fixture(autouse=True)
def forget_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has frozen nothing yet, whatever other tests have."""
    monkeypatch.setattr(provenance, "_first_copies", {})


def test_a_frozen_copy_inside_another_checkout_is_still_the_code_it_was_made_from(
    other_checkout: Path,
) -> None:
    code = freeze_code(other_checkout / "runs" / "x" / "code")
    said = said_by(code, cwd=other_checkout)
    assert said["from"] == str(code / "cosmos")
    assert said["state"] == json.loads((code / "cosmos" / "frozen.json").read_text())
    assert said["state"]["commit"] == CodeState.of_package().commit
    assert said["version"] == said["state"]["version"]
    assert said["session"]["commit"] == said["state"]["commit"]
    assert said["digest"] == source_digest()


def test_a_frozen_copy_of_a_frozen_copy_says_the_same(tmp_path: Path) -> None:
    first = freeze_code(tmp_path / "a")
    again = "import sys; from pathlib import Path; from cosmos.run.provenance import freeze_code; "
    again += "freeze_code(Path(sys.argv[1]))"
    env = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(first)}
    subprocess.run([sys.executable, "-c", again, str(tmp_path / "b")], cwd=tmp_path, env=env, check=True)
    frozen = [json.loads((tmp_path / name / "cosmos" / "frozen.json").read_text()) for name in "ab"]
    assert frozen[0] == frozen[1]


def test_a_frozen_copy_has_every_file_but_compiled_ones(tmp_path: Path) -> None:
    def files(root: Path) -> set[Path]:
        return {p.relative_to(root) for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts}

    assert Path(cosmos.__file__).parent == PACKAGE
    folder = freeze_code(tmp_path / "code")
    assert folder == tmp_path / "code"
    assert files(folder / "cosmos") == files(PACKAGE) | {Path("frozen.json")}
    assert not list(folder.rglob("__pycache__"))
    assert [p.name for p in folder.iterdir()] == ["cosmos"]


def test_a_second_freeze_leaves_the_first_as_it_is(tmp_path: Path) -> None:
    kept = freeze_code(tmp_path) / "cosmos" / "cli.py"
    kept.write_text("# as the job got it")
    freeze_code(tmp_path)
    assert kept.read_text() == "# as the job got it"


def test_a_checkout_that_changes_changes_no_later_copy_of_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "cosmos"
    monkeypatch.setattr(
        provenance, "PACKAGE", shutil.copytree(freeze_code(tmp_path / "any") / "cosmos", checkout)
    )
    (checkout / "call.py").write_text("old")
    first = freeze_code(tmp_path / "first")
    (checkout / "call.py").write_text("new")
    assert (freeze_code(tmp_path / "second") / "cosmos" / "call.py").read_text() == "old"
    shutil.rmtree(first)  # nothing is left to copy but the code as it is now
    assert (freeze_code(tmp_path / "third") / "cosmos" / "call.py").read_text() == "new"


def test_a_package_is_frozen_where_modes_and_times_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(os, "chmod", refuse)
    assert (freeze_code(tmp_path) / "cosmos" / "cli" / "__init__.py").is_file()


def test_what_systems_and_editors_leave_beside_the_code_is_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "cosmos")
    (tmp_path / "cosmos" / "model").mkdir(parents=True)
    (tmp_path / "cosmos" / "model" / "a.py").write_text("A = 1")
    digest = source_digest.__wrapped__(("model",))
    (tmp_path / "cosmos" / "model" / "._a.py").write_bytes(b"\0\5\26\7")
    (tmp_path / "cosmos" / "model" / ".#a.py").symlink_to("somebody@host.1:2")
    assert source_digest.__wrapped__(("model",)) == digest
    frozen = freeze_code(tmp_path / "code")
    assert [path.name for path in (frozen / "cosmos" / "model").iterdir()] == ["a.py"]


def test_a_freeze_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "cosmos")
    (tmp_path / "cosmos").mkdir()
    for name in ("a.py", "b.py"):
        (tmp_path / "cosmos" / name).symlink_to(tmp_path / "gone.py")
    with pytest.raises(TransientError, match=r"code: the code of the job cannot be copied there: ") as caught:
        freeze_code(tmp_path / "code")
    assert ("a.py" in str(caught.value)) != ("b.py" in str(caught.value))
    assert list((tmp_path / "code").iterdir()) == []


def test_the_code_is_known_by_its_commit() -> None:
    assert code_version() == code_state().version
    assert code_version()


def record_under_job(path: Path, monkeypatch: pytest.MonkeyPatch, job: str) -> dict[str, Any]:
    monkeypatch.setenv("COSMOS_JOB", job)
    record_session(path, dataset_version(), {}, {"device": "cpu"})
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def as_job(number: str, requeues: int) -> str:
    return json.dumps({"cluster": "slurm", "id": number, "requeues": requeues, "nodes": ["node0"]})


def test_a_session_names_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "provenance.json"
    record_under_job(path, monkeypatch, "")
    content = record_under_job(path, monkeypatch, as_job("12", 0))
    assert [s["job"] for s in content["sessions"]] == [{}, json.loads(as_job("12", 0))]


def test_requeues_are_those_of_all_jobs_also_where_training_never_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "provenance.json"
    requeues = [
        record_under_job(path, monkeypatch, job)["requeues"]
        for job in ("", as_job("12", 0), as_job("12", 1), as_job("12", 4), as_job("13", 0), as_job("13", 1))
    ]
    assert requeues == [0, 0, 1, 4, 4, 5]


def test_sessions_of_an_older_record_without_jobs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "provenance.json"
    path.write_text(json.dumps({"data": {}, "sessions": [{"commit": "abc"}]}))
    content = record_under_job(path, monkeypatch, as_job("12", 1))
    assert content["requeues"] == 1
    assert content["sessions"][0] == {"commit": "abc"}


def test_a_session_with_other_code_or_hardware_than_the_one_before_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "provenance.json"
    for _ in range(2):
        record_session(path, dataset_version(), {}, {"device": "cpu", "ranks": 1})
    assert not caplog.messages
    monkeypatch.setattr(provenance, "code_state", lambda: CodeState("", "", "0.1+unknown", "no commit yet"))
    record_session(path, dataset_version(), {}, {"device": "cpu", "ranks": 2})
    assert caplog.messages[0] == f"{path} names no commit of the code: no commit yet"
    assert re.search(
        r"other code, data or hardware .*: commit: \w{12} -> unknown, .*ranks: 1 -> 2", caplog.messages[1]
    )
    sessions = read_sessions(path)
    assert sessions[2].version == "0.1+unknown"
    described = list(describe_sessions(sessions).values())
    assert "ranks: 1" in described[0]
    assert (described[1], "ranks: 1 -> 2" in described[2]) == ("as before", True)


def test_changes_of_the_code_are_recorded_once_whatever_the_number_of_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, older = tmp_path / "provenance.json", {"commit": "c0ffee", "diff": "- old\n"}
    path.write_text(json.dumps({"data": {}, "sessions": [older]}))
    for diff in ("+ a line\n" * 1000, "+ a line\n" * 1000, ""):
        state = CodeState("c0ffee", diff, "c0ffee-dirty")
        monkeypatch.setattr(provenance, "code_state", lambda state=state: state)
        record_session(path, dataset_version(), {}, {"device": "cpu"})
    assert path.read_text().count("+ a line") == 1000
    content, sessions = json.loads(path.read_text()), read_sessions(path)
    assert content["sessions"][0] == older
    assert content["diffs"] == {sessions[1].diff_sha256: "+ a line\n" * 1000}
    assert sessions[0].changes_sha256 == hashlib.sha256(b"- old\n").hexdigest()
    assert (sessions[2].changes_sha256, sessions[3].changes_sha256) == (sessions[1].diff_sha256, "")


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", '{"data": {}, "sessions": [3]}', '{"data": {}, "sessions": [{"commit": 3}]}',
        '{"data": {"train": 3}, "sessions": []}', '{"data": {}, "sessions": {}}', "[" * 100_000,
        '{"data": {}, "sessions": [{"job": {"id": "7", "cluster": []}}]}',
        '{"data": {}, "sessions": [{"job": {"id": "7", "requeues": "1"}}]}',
        '{"data": {}, "sessions": [{"hardware": {"ranks": [1]}}]}',
    ],
)  # fmt: skip
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "provenance.json"
    path.write_text(content)
    with pytest.raises(DamagedDataError, match=r"provenance\.json: not a provenance .*; delete it"):
        record_session(path, dataset_version(), {}, {"device": "cpu"})
    assert path.read_text() == content


@pytest.mark.parametrize("broken", ["12", "{", '["a"]', '{"id": "12"}'])
def test_a_broken_job_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setenv("COSMOS_JOB", broken)
    with pytest.raises(ValueError, match=r"COSMOS_JOB: .*unset it"):
        provenance.current_job()


def test_the_record_names_the_versions_that_dvc_has_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    manifest = tmp_path / "data" / "manifest.json"
    manifest.write_text("{}")
    run_dvc(tmp_path, "init", "--no-scm", "--quiet")
    run_dvc(tmp_path, "add", "--quiet", "data")
    record_session(tmp_path / "provenance.json", dataset_version(manifest), {}, {"device": "cpu"})
    content = json.loads((tmp_path / "provenance.json").read_text())
    assert content["dvc"]["data"].endswith(".dir")


def test_a_disk_that_fails_while_a_file_is_hashed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    (tmp_path / "manifest.json").touch()
    monkeypatch.setattr("cosmos.run.provenance.hashlib.file_digest", fail)
    with pytest.raises(TransientError, match=r"manifest\.json: Connection timed out"):
        file_sha256(tmp_path / "manifest.json")
