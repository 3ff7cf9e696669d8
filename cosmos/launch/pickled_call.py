"""Calls as bytes for a job's folder, and the secrets in them, which the job gets in its environment.

A folder is kept, copied and read by others for years; an environment is seen by its user's processes alone.
"""

import io
import json
import pickle
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Secret, SecretStr

from cosmos.errors import InputError

JOB_SECRETS = "COSMOS_JOB_SECRETS"
"""Variable of a job's environment with the secrets of its calls: a list in JSON."""


class _SecretsAside(pickle.Pickler):
    """Pickler that puts the values of secrets aside, into a list, and a number in their place."""

    def __init__(self, file: io.BytesIO, values: list[Any]) -> None:
        super().__init__(file)
        self.values = values

    def persistent_id(self, obj: Any) -> tuple[str, int] | None:
        if not isinstance(obj, SecretStr | Secret) or not (value := obj.get_secret_value()):
            return None
        if value not in self.values:
            self.values.append(value)
        return type(obj).__name__.partition("[")[0], self.values.index(value)


class _SecretsBack(pickle.Unpickler):
    """Unpickler that puts secrets back into their places."""

    def __init__(self, file: io.BytesIO, values: list[Any]) -> None:
        super().__init__(file)
        self.values = values

    def persistent_load(self, pid: tuple[str, int]) -> SecretStr | Secret[Any]:
        kind, place = pid
        if place >= len(self.values):
            raise InputError(f"{JOB_SECRETS} did not reach the job; add it to sbatch's --export")
        return SecretStr(self.values[place]) if kind == "SecretStr" else Secret[Any](self.values[place])


def dump_calls(calls: Sequence[Callable[[], Any]]) -> tuple[list[bytes], dict[str, str]]:
    """Return calls as bytes without their secrets, and the variables of the job that hold those."""
    values: list[Any] = []
    files = [io.BytesIO() for _ in calls]
    for call, file in zip(calls, files, strict=True):
        _SecretsAside(file, values).dump(call)
    return [file.getvalue() for file in files], {JOB_SECRETS: json.dumps(values)} if values else {}


def load_call(call: bytes, secrets: str) -> Callable[[], Any]:
    """Return a call from its bytes, with its secrets from the text of JOB_SECRETS.

    The bytes come from the submission's folder, which nobody else can write. Raises InputError where its
    secrets are missing.
    """
    loaded: Callable[[], Any] = _SecretsBack(io.BytesIO(call), json.loads(secrets or "[]")).load()
    return loaded
