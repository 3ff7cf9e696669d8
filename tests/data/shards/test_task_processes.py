import multiprocessing
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from cosmos.data.preparation import prepare_dataset
from cosmos.errors import TransientError, error_class
from tests.data.examples import flickr8k, machine


def refuse(thread: threading.Thread) -> NoReturn:
    raise RuntimeError("can't start new thread")


def test_a_limit_of_threads_is_told_and_the_same_preparation_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, site = flickr8k(tmp_path), machine(tmp_path)
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        (started if thread.name == "heartbeat" else refuse)(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread") as stop:
        prepare_dataset(params, site, processes=2)
    monkeypatch.setattr(threading.Thread, "start", started)
    assert error_class(stop.value) is TransientError
    assert not multiprocessing.active_children()
    assert prepare_dataset(params, site, processes=2)["train"].num_samples == 6
