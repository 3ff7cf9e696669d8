"""Variables that launchers export."""

import pytest

from cosmos.distributed.environment import exported_meeting
from cosmos.errors import InputError


def test_ranks_without_a_place_to_meet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("MASTER_ADDR", "node1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert exported_meeting() == ("node1", 29500)
    monkeypatch.delenv("MASTER_PORT")
    with pytest.raises(InputError, match=r"MASTER_PORT=: no place at which 4 ranks .* torchrun, or unset"):
        exported_meeting()
