import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.flows.served import DOWN, LASTING, UP, Served
from tests.search.examples import SMALL
from tests.workspaces import checkout, commit

SWEEPS: dict[str, dict[str, Any]] = {
    "small": {"trials": 2, "repeats": {"best": 1, "seeds": 1}},
    "lasting": {"trials": 9, "epochs": 400, "repeats": {"best": 0}},
}

# Prefect reads its settings, and makes its home, when it is imported.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-")
os.environ |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_SERVER_API_PORT"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server and a worker of a checkout that has a long experiment, and sweeps."""
    folder = checkout(tmp_path_factory.mktemp("flows") / "checkout")
    (folder / "experiments" / "lasting.yaml").write_text(LASTING)
    for name, changes in SWEEPS.items():
        sweep = {**SMALL, **changes}
        (folder / "experiments" / "sweeps" / f"{name}.yaml").write_text(yaml.safe_dump(sweep))
    commit(folder)
    served = Served(folder)
    up = served.run(*UP)
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"PREFECT_API_URL={served.api}" in up.stdout
    yield served
    down = served.run(*DOWN)
    assert down.stdout.splitlines() == ["the worker has ended", "the server has ended"]
