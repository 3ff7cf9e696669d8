from pathlib import Path

import pytest

from tests.stages.examples import TINY, cosmos


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and a prepared dataset."""
    folder = tmp_path_factory.mktemp("stages")
    (folder / "tiny.yaml").write_text(TINY)
    done = cosmos(folder, "prepare")
    assert done.returncode == 0, done.stderr
    return folder
