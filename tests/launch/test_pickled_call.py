"""Calls of jobs as bytes, and the secrets that stay out of them."""

import json
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from cosmos.config.machine import Machine
from cosmos.errors import InputError
from cosmos.launch.pickled_call import JOB_SECRETS, dump_calls, load_call
from tests.launch import examples
from tests.launch.examples import Launcher


def settings() -> Machine:
    return Machine.model_validate(
        {"storage_options": {"key": "k", "secret": "s3cret-key"}, "study_storage": "db://u:s3cret-url@h/o"}
    )


def test_secrets_are_put_aside_and_back() -> None:
    call = partial(examples.reveal, settings(), SecretStr(""))
    pickled, environment = dump_calls([call, call])
    assert b"s3cret" not in b"".join(pickled)
    assert len(json.loads(environment[JOB_SECRETS])) == 2
    assert load_call(pickled[1], environment[JOB_SECRETS])() == call()
    assert call()[0] == "s3cret-key"


def test_a_call_without_secrets_needs_no_variable() -> None:
    (pickled,), environment = dump_calls([partial(examples.add, 2, 3)])
    assert environment == {}
    assert load_call(pickled, "")() == 5


def test_secrets_that_did_not_reach_the_job_are_asked_for() -> None:
    (pickled,), _ = dump_calls([partial(examples.reveal, settings(), SecretStr(""))])
    with pytest.raises(InputError, match=r"COSMOS_JOB_SECRETS did not reach the job; .* --export"):
        load_call(pickled, "")


def test_a_job_has_its_secrets_and_no_file_does(launcher: Launcher, tmp_path: Path) -> None:
    call = partial(examples.measure_secrets, settings(), SecretStr("s3cret-text"))
    assert [outcome.value for outcome in launcher(call, call)] == [call(), call()]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if b"s3cret-" in content(path)] == []


def content(path: Path) -> bytes:
    """The bytes of a file of a job; none where the job has just removed it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
