import os
import subprocess
from pathlib import Path

import pytest

from cosmos.run import code_state
from cosmos.run.code_state import MAX_DIFF_CHARS, MAX_NEW_FILES, CodeState, GitError
from tests.run.examples import git, make_checkout


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return make_checkout(tmp_path / "checkout")


def head(package: Path) -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=package, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_code_as_it_was_committed_has_a_commit_and_no_diff(package: Path) -> None:
    assert CodeState.of_checkout(package) == CodeState(head(package), "", head(package)[:7])


def test_a_new_module_that_was_not_added_is_in_the_diff_and_makes_the_code_dirty(package: Path) -> None:
    (package / "new loss.py").write_text("scale = 2\n")
    (package / "loss.pyc").write_text("compiled")
    state = CodeState.of_checkout(package)
    assert state.version == f"{head(package)[:7]}-dirty"
    assert "+++ b/cosmos/new loss.py" in state.diff
    assert "+scale = 2" in state.diff
    assert "pyc" not in state.diff


def test_the_diff_of_old_and_new_files_gives_back_the_code_where_it_is_applied(
    package: Path, tmp_path: Path
) -> None:
    (package / "loss.py").write_text("scale = 3\n")
    (package / "new.py").write_text("scale = 2")
    (tmp_path / "diff").write_text(CodeState.of_checkout(package).diff)
    git(tmp_path, "clone", "checkout", "copy")
    git(tmp_path / "copy", "apply", str(tmp_path / "diff"))
    for name in ("loss.py", "new.py"):
        assert (tmp_path / "copy" / "cosmos" / name).read_text() == (package / name).read_text()


def test_new_files_outside_of_the_package_are_no_code(package: Path) -> None:
    (package.parent / "notes.txt").write_text("a thought")
    assert CodeState.of_checkout(package) == CodeState(head(package), "", head(package)[:7])


def test_secrets_are_in_no_diff_even_where_they_are_in_a_commit_or_not_ignored(package: Path) -> None:
    for name in (".env", "machine.yaml", "cosmos/machine.yaml"):
        (package.parent / name).write_text("key: old-secret")
    git(package.parent, "add", "--force", ".")
    git(package.parent, "commit", "-m", "a mistake")
    for name in (".env", "machine.yaml", "cosmos/machine.yaml"):
        (package.parent / name).write_text("key: new-secret")
    (package / ".env.local").write_text("KEY=new-secret")
    state = CodeState.of_checkout(package)
    assert (state.diff, state.version) == ("", f"{head(package)[:7]}-dirty")


def test_large_binary_and_many_new_files_are_named_and_bounded(package: Path) -> None:
    (package / "big.py").write_text("#" * (MAX_DIFF_CHARS + 1))
    (package / "weights.bin").write_bytes(bytes(range(256)))
    (package / os.fsdecode(b"caf\xe9.py")).write_text("")
    diff = CodeState.of_checkout(package).diff
    assert f"# new file, too large to be kept: cosmos/big.py ({MAX_DIFF_CHARS + 1} bytes)" in diff
    assert "Binary files /dev/null and b/cosmos/weights.bin differ" in diff
    assert "caf\ufffd.py" in diff
    many = [f"{number}.py" for number in range(MAX_NEW_FILES + 3)]
    (notes,) = list(code_state.new_file_diffs(package, many))[-1:]
    assert notes == b"# and 3 more new files\n"


def test_a_diff_that_is_cut_says_so_and_other_encodings_are_replaced(package: Path) -> None:
    (package / "loss.py").write_bytes(b"# caf\xe9\n" + b"x = 1\n" * MAX_DIFF_CHARS)
    diff = CodeState.of_checkout(package).diff
    assert "# caf\ufffd" in diff
    assert diff.endswith("\n# cut here, after 200,000 characters\n")


def test_settings_of_the_user_and_variables_of_a_hook_change_nothing(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "loss.py").write_text("scale = 3\n")
    plain = CodeState.of_checkout(package)
    for key, value in {"color.ui": "always", "diff.noprefix": "true", "diff.external": "false"}.items():
        git(package, "config", key, value)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert CodeState.of_checkout(package) == plain
    assert "--- a/cosmos/loss.py" in plain.diff


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to another user")
def test_a_checkout_of_another_user_has_its_commit(package: Path) -> None:
    commit = head(package)
    for path in (package.parent, *package.parent.rglob("*")):
        os.chown(path, 12345, 12345)
    refused = subprocess.run(["git", "rev-parse", "HEAD"], cwd=package, capture_output=True, text=True)
    assert "dubious ownership" in refused.stderr
    assert CodeState.of_checkout(package).commit == commit


def test_a_checkout_whose_commit_is_unknown_gives_the_reason(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(GitError, match="plain: not a git repository"):
        CodeState.of_checkout(tmp_path / "plain")
    git(tmp_path / "plain", "init")
    with pytest.raises(GitError, match="plain: no commit yet"):
        CodeState.of_checkout(tmp_path / "plain")
    ignored = package / "build.pyc" / "cosmos"
    ignored.mkdir(parents=True)
    with pytest.raises(GitError, match=r"build\.pyc/cosmos: ignored by the git checkout"):
        CodeState.of_checkout(ignored)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match=r"git cannot be run \(No such file or directory\)"):
        CodeState.of_checkout(package)
    (tmp_path / "git").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setattr(code_state, "GIT_SECONDS", 0.1)
    with pytest.raises(GitError, match=r"git has not answered for 0\.1 s"):
        CodeState.of_checkout(package)


def test_code_in_no_commit_is_no_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_state, "PACKAGE", tmp_path)
    state = CodeState.of_package()
    assert (state.commit, state.version) == (
        "",
        f"{code_state.installed_version('cosmos-pretraining')}+unknown",
    )
    assert "not a git repository" in state.problem


def test_metadata_beside_a_checkout_do_not_make_it_an_installed_copy(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_state, "PACKAGE", package)
    monkeypatch.syspath_prepend(package.parent)
    content = "Metadata-Version: 2.1\nName: cosmos-pretraining\nVersion: 9\n"
    editable = package.parent / "cosmos_pretraining.egg-info"
    editable.mkdir()
    (editable / "PKG-INFO").write_text(content)
    assert CodeState.of_package().commit == head(package)
    installed = package.parent / "cosmos_pretraining-9.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(content)
    (installed / "RECORD").write_text("cosmos/__init__.py,,\n")
    assert CodeState.of_package() == CodeState("", "", "9")
