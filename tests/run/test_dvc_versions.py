"""Versions of files in a real DVC repository: what is on record, and files as they were."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from dvc.exceptions import DownloadError, DvcException
from dvc.lock import LockError
from dvc_objects.fs.errors import AuthError
from moto.server import ThreadedMotoServer

from cosmos.errors import DamagedDataError, InputError, TransientError
from cosmos.run.dvc_versions import fetch_version, recorded_versions
from tests.forks import run_dvc
from tests.stages.examples import ROOT
from tests.workspaces import commit, git


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two versions of a pipeline's dataset and model, and of a folder that was added."""
    folder = tmp_path_factory.mktemp("versions") / "checkout"
    (folder / "raw").mkdir(parents=True)
    (folder / "dvc.yaml").write_text("""
stages:
  prepare:
    cmd: mkdir -p made/data && cp params.yaml made/data/manifest.json
    deps: [params.yaml]
    outs: [made/data]
  train: {cmd: cp params.yaml made/model.pt, deps: [made/data], outs: [made/model.pt]}
""")
    git(folder, "init", "--quiet")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / ".gitignore").write_text("/cache\n/config.local\n/tmp\n")
    (folder / ".dvc" / "config").write_text("""
[core]
    remote = storage
['remote "storage"']
    url = ../../storage
""")
    commit(folder)
    git(folder, "tag", "nothing-made")
    for version in ("1", "2"):
        (folder / "params.yaml").write_text(f"seed: {version}\n")
        (folder / "raw" / "captions.json").write_text(f"[{version}]")
        run_dvc(folder, "repro", "--quiet")
        run_dvc(folder, "add", "--quiet", "raw")
        commit(folder)
        run_dvc(folder, "push", "--quiet")
    git(folder, "tag", "second")
    return folder


@pytest.fixture
def repository(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with its storage beside it, worked in."""
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "checkout")
    return tmp_path / "checkout"


def on_record(folder: Path, out: str) -> str:
    lines = (folder / "dvc.lock").read_text().splitlines()
    return lines[lines.index(f"    - path: {out}", lines.index("    outs:")) + 2].split()[-1]


def test_a_file_of_the_pipeline_has_the_version_of_the_output_that_holds_it(repository: Path) -> None:
    version = on_record(repository, "made/data")
    assert version.endswith(".dir")
    assert recorded_versions(repository / "made" / "data" / "manifest.json") == {"made/data": version}
    assert recorded_versions(Path("made/model.pt")) == {
        "made/model.pt": on_record(repository, "made/model.pt")
    }


def test_a_file_in_a_folder_that_was_added_has_the_version_of_the_folder(repository: Path) -> None:
    ((out, version),) = recorded_versions(repository / "raw" / "captions.json").items()
    assert (out, version) == ("raw", (repository / "raw.dvc").read_text().split("md5: ")[1].split()[0])


def test_a_file_that_was_changed_since_has_no_version(repository: Path) -> None:
    manifest = repository / "made" / "data" / "manifest.json"
    manifest.unlink()
    manifest.write_text("changed")
    assert recorded_versions(manifest) == {}


def test_what_dvc_does_not_have_or_cannot_say_is_not_claimed(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").touch()
    assert recorded_versions(tmp_path / "outside") == {}
    assert recorded_versions(repository / "params.yaml") == {}
    (repository / "dvc.lock").write_text("stages: nonsense")
    assert recorded_versions(repository / "made" / "data" / "manifest.json") == {}
    shutil.rmtree(repository / ".dvc" / "cache")
    assert recorded_versions(repository / "raw" / "captions.json") == {}


def test_versions_are_found_in_a_cache_elsewhere(repository: Path, tmp_path: Path) -> None:
    (repository / ".dvc" / "cache").rename(tmp_path / "shared")
    run_dvc(repository, "cache", "dir", "--local", str(tmp_path / "shared"))
    assert recorded_versions(repository / "made" / "data" / "manifest.json")


def test_a_file_is_fetched_as_it_was_at_a_revision(repository: Path, tmp_path: Path) -> None:
    old = fetch_version("HEAD~1", "made/model.pt", tmp_path / "kept")
    assert old.read_text() == "seed: 1\n"
    assert fetch_version("second", "made/model.pt", tmp_path / "kept").read_text() == "seed: 2\n"
    old.write_text("seed: 3\n")
    assert fetch_version("HEAD~1", "made/model.pt", tmp_path / "kept").read_text() == "seed: 1\n"
    assert fetch_version("HEAD~1", "params.yaml", tmp_path / "kept").read_text() == "seed: 1\n"
    shutil.rmtree(repository / ".dvc" / "cache")
    shutil.rmtree(tmp_path / "storage")
    assert fetch_version("HEAD~1", "made/model.pt", tmp_path / "kept") == old


def test_a_file_of_other_bytes_in_the_cache_or_a_remote_is_named_and_not_taken(
    repository: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    good = fetch_version("HEAD~1", "made/model.pt", kept)
    good.unlink()
    inside = Path("files", "md5", good.stem[:2], good.stem[2:])
    for place, remedy in ((repository / ".dvc" / "cache", "remove it"), (tmp_path / "storage", "push it")):
        file = place / inside
        file.chmod(0o644)
        file.write_text("seed: 9\n")
        with pytest.raises(
            DamagedDataError, match=rf"dvc:HEAD~1:made/model\.pt: .*{good.stem[2:]}.*; {remedy}"
        ):
            fetch_version("HEAD~1", "made/model.pt", kept)
        assert not list(kept.iterdir())
        file.unlink()


@pytest.mark.parametrize("path", ["made/model.pt", "made/data/manifest.json", "raw/captions.json"])
def test_a_new_clone_fetches_from_the_remote(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    git(tmp_path, "clone", "--quiet", "checkout", "clone")
    monkeypatch.chdir(tmp_path / "clone")
    old, new = (fetch_version(rev, path, tmp_path / "kept") for rev in ("HEAD~1", "HEAD"))
    assert "1" in old.read_text()
    assert new.read_text() == (repository / path).read_text()


@pytest.mark.slow
def test_a_stage_fetches_and_finds_versions_while_dvc_runs_it(repository: Path) -> None:
    (repository / "look.py").write_text("""
from pathlib import Path
from cosmos.run.dvc_versions import fetch_version, recorded_versions
old = fetch_version("HEAD~1", "made/model.pt", Path("kept")).read_text()
Path("seen").write_text(old + str(recorded_versions(Path("made/data/manifest.json"))))
""")
    with (repository / "dvc.yaml").open("a") as file:
        file.write(f"  look: {{cmd: {sys.executable} look.py, deps: [made/model.pt], outs: [seen]}}\n")
    run_dvc(repository, "repro", "look", PYTHONPATH=str(ROOT))
    version = {"made/data": on_record(repository, "made/data")}
    assert (repository / "seen").read_text() == f"seed: 1\n{version}"


@pytest.mark.parametrize(
    ("revision", "path", "message"),
    [
        ("no-such", "made/model.pt", "no revision no-such; `git log"),
        ("HEAD", "made/none.pt", "not a file of that revision; `dvc list"),
        ("HEAD", "made/data/none.json", "not a file of that revision; `dvc list"),
        ("HEAD", "made/data", "a folder; name a file in it"),
        ("nothing-made", "made/model.pt", "its stage had not run at that revision"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(
    repository: Path, tmp_path: Path, revision: str, path: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fetch_version(revision, path, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("path", ["made/model.pt", "made/data/manifest.json"])
def test_a_file_that_no_place_has_is_said_to_need_a_push(repository: Path, tmp_path: Path, path: str) -> None:
    shutil.rmtree(repository / ".dvc" / "cache")
    shutil.rmtree(tmp_path / "storage")
    with pytest.raises(InputError, match=r"neither in the cache nor to be had from a remote .* `dvc push`"):
        fetch_version("HEAD", path, tmp_path / "kept")


def test_storage_that_needs_another_package_names_it(repository: Path, tmp_path: Path) -> None:
    shutil.rmtree(repository / ".dvc" / "cache")
    (repository / ".dvc" / "config.local").write_text(
        "['remote \"storage\"']\n    url = gs://bucket/storage\n"
    )
    with pytest.raises(InputError, match=r"from a remote .*dvc-gs"):
        fetch_version("HEAD", "made/model.pt", tmp_path / "kept")


def test_a_revision_that_dvc_cannot_read_is_named(repository: Path, tmp_path: Path) -> None:
    (repository / "dvc.yaml").write_text("stages: [")
    commit(repository)
    with pytest.raises(InputError, match=r"dvc:HEAD:made/model.pt: cannot be looked up: .*dvc\.yaml"):
        fetch_version("HEAD", "made/model.pt", tmp_path / "kept")
    assert fetch_version("HEAD~1", "made/model.pt", tmp_path / "kept").read_text() == "seed: 2\n"


def test_outside_of_a_repository_there_are_no_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no DVC repository"):
        fetch_version("HEAD", "made/model.pt", tmp_path)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of a storage of S3's kind on loopback, with the bucket `bucket`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    s3fs.S3FileSystem(endpoint_url=f"http://{host}:{port}", key="test", secret="test").mkdir("bucket")
    yield f"http://{host}:{port}"
    server.stop()


KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.mark.slow
def test_versions_travel_through_object_storage(
    repository: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    run_dvc(repository, "remote", "modify", "--local", "storage", "url", "s3://bucket/storage")
    run_dvc(repository, "remote", "modify", "--local", "storage", "endpointurl", bucket)
    before = recorded_versions(repository / "made" / "data" / "manifest.json")
    run_dvc(repository, "push", "--all-commits")
    for path in (".dvc/cache", "made", "raw"):
        shutil.rmtree(repository / path)
    assert fetch_version("HEAD~1", "made/model.pt", tmp_path / "kept").read_text() == "seed: 1\n"
    run_dvc(repository, "pull")
    assert "up to date" in run_dvc(repository, "status")
    assert recorded_versions(repository / "made" / "data" / "manifest.json") == before


@pytest.mark.slow
def test_object_storage_that_is_gone_is_named(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    run_dvc(repository, "remote", "modify", "--local", "storage", "url", "s3://bucket/storage")
    run_dvc(repository, "remote", "modify", "--local", "storage", "endpointurl", "http://127.0.0.1:9")
    shutil.rmtree(repository / ".dvc" / "cache")
    for path in ("made/model.pt", "made/data/manifest.json"):
        with pytest.raises(TransientError, match=r"to be had from a remote \(.*127\.0\.0\.1:9"):
            fetch_version("HEAD", path, tmp_path / "kept")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LockError("busy"), TransientError),
        (DownloadError(3), TransientError),
        (DvcException("a broken dvc.lock"), InputError),
        (AuthError("a wrong key"), InputError),
    ],
)
def test_an_error_of_dvc_or_of_a_storage_is_of_the_class_that_its_type_stands_for(
    repository: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("dvc.api.DVCFileSystem", fail)
    with pytest.raises(expected, match=f"dvc:HEAD:made/model.pt: .*{error}"):
        fetch_version("HEAD", "made/model.pt", repository)


@pytest.mark.slow
def test_commands_tell_which_version_is_where(repository: Path) -> None:
    changed = run_dvc(repository, "diff", "HEAD~1", "HEAD")
    assert "Modified:" in changed
    assert "made/data/" in changed
    assert "made/model.pt" in run_dvc(repository, "list", "-R", "--dvc-only", ".", "--rev", "second")
    run_dvc(repository, "get", ".", "made/model.pt", "--rev", "HEAD~1", "--out", "old.pt")
    assert (repository / "old.pt").read_text() == "seed: 1\n"
