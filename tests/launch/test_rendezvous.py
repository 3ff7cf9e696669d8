"""Where ranks meet."""

from pathlib import Path

import pytest

from cosmos.errors import DamagedDataError, TransientError
from cosmos.launch import rendezvous
from cosmos.launch.rendezvous import address_towards, await_rendezvous


def test_the_address_of_this_machine_is_that_of_the_network_towards_the_other() -> None:
    assert address_towards("127.0.0.1") == "127.0.0.1"
    with pytest.raises(TransientError, match="finds no way to the job's node no host"):
        address_towards("no host")


def test_a_first_rank_that_does_not_come_is_waited_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "RENDEZVOUS_PATIENCE", 0.0)
    with pytest.raises(TransientError, match=r"rendezvous-0-0\.json: rank 0 did not write it"):
        await_rendezvous(tmp_path / "rendezvous-0-0.json")


@pytest.mark.parametrize("content", ["", "[]", '{"address": "::1", "port": "7"}'])
def test_a_damaged_rendezvous_names_its_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "rendezvous-0-0.json").write_text(content)
    with pytest.raises(DamagedDataError, match=r"rendezvous-0-0\.json: not a rendezvous"):
        await_rendezvous(tmp_path / "rendezvous-0-0.json")
