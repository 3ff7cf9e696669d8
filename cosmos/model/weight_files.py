"""Files of weights from anywhere: read without executing anything in them, or refused by what they are."""

import errno
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cosmos.errors import CosmosError, DamagedDataError, InputError, short_reason
from cosmos.model.weight_archive import (
    check_archive,
    is_archive,
    naming_damage,
    naming_read_errors,
    repair_remedy,
)

CONVERSION_PAGE = "docs/evaluation.md, 'Use checkpoints from elsewhere'"
"""Page that says how to convert files of other formats."""


@dataclass(frozen=True)
class ForeignFormat:
    """A format of files that are no weights, known by their first bytes."""

    start: bytes
    """pattern of the first bytes"""
    description: str
    remedy: str


FOREIGN_FORMATS = (
    ForeignFormat(
        rb"version https://git-lfs", "a Git LFS pointer, not the file itself", "`git lfs pull` fetches it"
    ),
    ForeignFormat(rb"outs:|md5:", "a pointer of DVC, not the file itself", "`dvc pull` fetches the file"),
    ForeignFormat(
        rb"\s*<", "a web page, as sites send to those who are not logged in", "download the file again"
    ),
    ForeignFormat(rb"\s*[{\[]\s*[\"{\[]", "JSON, not weights", "give the file of the weights"),
    ForeignFormat(rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "compressed", "unpack it first"),
    ForeignFormat(
        rb"\x93NUMPY|\x89HDF|GGUF", "a file of NumPy, HDF5 or GGUF", f"convert it: {CONVERSION_PAGE}"
    ),
    ForeignFormat(
        rb"\x80(?![\s\S]\x8a\nl\xfc\x9cF)",
        "a pickle that torch.save did not write, which is not read, since it could execute code",
        f"convert it: {CONVERSION_PAGE}",
    ),
)
"""Formats that are taken for checkpoints by mistake; the first whose pattern fits counts."""


def read_weight_file(path: Path) -> Any:
    """Return the tensors and plain values of a file of torch.save or safetensors; nothing in it is executed.

    An archive of torch.save is read once to compare it with its checksums, which other formats do not have.
    Tensors are mapped, not copied, except those of the format of PyTorch before 1.6. Raises InputError for a
    file that does not exist or is of another format, DamagedDataError for broken bytes, and TransientError
    where the disk fails.
    """
    with naming_read_errors(path):
        if is_archive(path):
            return _load_archive(path)
        with path.open("rb") as file:
            return _load(path, file.read(64))


def _load(path: Path, start: bytes) -> Any:
    if re.match(rb"[\s\S]{8}\{", start):
        return _load_safetensors(path)
    for form in FOREIGN_FORMATS:
        if re.match(form.start, start):
            raise InputError(f"{path}: {form.description}; {form.remedy}")
    return _load_plain_values(path, mmap=False)


def _load_archive(path: Path) -> Any:
    refuse_other_archives(path)
    check_archive(path)
    try:
        return _load_plain_values(path, mmap=True)
    except DamagedDataError:
        check_archive(path)  # the bytes are whole; torch tells no failure of the disk from one of the file
        return _load_plain_values(path, mmap=True)


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise DamagedDataError(
            f"{path}: not a whole file of safetensors ({short_reason(error)}); {repair_remedy(path)}"
        ) from None


def refuse_other_archives(path: Path) -> None:
    """Raise InputError for a zip archive that torch.save did not write, DamagedDataError for a broken one."""
    with naming_damage(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for member in archive.infolist():
            archive.open(member).close()  # compares its two names
    kinds = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in kinds:
        raise InputError(
            f"{path}: a TorchScript archive, which is a program; save its weights alone: {CONVERSION_PAGE}"
        )
    if "data.pkl" not in kinds:
        raise InputError(f"{path}: a zip archive, but not of torch.save: it holds {join_names(names)}")
    if path.suffix == ".safetensors":  # torch reads it by its name
        raise InputError(f"{path}: torch.save wrote it, so it is no file of safetensors; rename it to .pt")


def _load_plain_values(path: Path, mmap: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except OSError as error:
        if error.errno != errno.EINVAL:  # torch looks for the end of a file that was cut before its start
            raise
        raise DamagedDataError(f"{path}: cut short; {repair_remedy(path)}") from None
    except Exception as error:  # a damaged stream can end in any exception of the unpickler
        failure = system_error(error)
        if mmap and failure and failure.errno == errno.ENODEV:  # of a file system that maps no files
            return _load_plain_values(path, mmap=False)
        raise failure or refusal(path, error) from None


def system_error(error: Exception) -> OSError | None:
    """Return the error of the operating system whose number ends a RuntimeError of torch; None for others.

    The C++ of torch, which maps files, raises no other class.
    """
    number = re.search(r"\((\d+)\)$", unpickling_problem(error)) if isinstance(error, RuntimeError) else None
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None


def refusal(path: Path, error: Exception) -> CosmosError:
    """Return the error of ours for a file that torch refused: InputError where its author wrote it so."""
    reason = unpickling_problem(error)
    if name := refused_class(path, reason):
        return InputError(
            f"{path}: holds `{printable_name(name)}`, which is not read, since it could execute code; if "
            "you trust its author, load it by torch.load(..., weights_only=False) and save the state dicts "
            f"alone: {CONVERSION_PAGE}"
        )
    if isinstance(error, UnpicklingError) and is_archive(path):  # its pickles are as they were written
        return InputError(f"{path}: not a checkpoint that can be read safely: {reason}")
    return DamagedDataError(f"{path}: broken or cut short ({reason}); {repair_remedy(path)}")


def unpickling_problem(error: Exception) -> str:
    """Return the line of torch's message that says what is wrong, without colours and advice.

    It is the class of an error without a message.
    """
    text = re.sub(r"\x1b\[[\d;]*m", "", str(error)).rpartition("WeightsUnpickler error: ")[2]
    line = next(iter(text.strip().splitlines()), type(error).__name__)
    return line.partition(". ")[0].removesuffix(".")


def refused_class(path: Path, problem: str) -> str:
    """Return the class or function in the pickles of a file that torch's `problem` names; "" for none."""
    try:
        if is_archive(path):
            with zipfile.ZipFile(path) as archive:
                member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                with archive.open(member) as stream:
                    names = list(pickled_globals(stream, 1))
        else:
            with path.open("rb") as stream:
                names = list(pickled_globals(stream, 4))
    except OSError:
        raise
    except Exception:  # damaged
        return ""
    return next((name for name in names if name in problem.split()), "")


def pickled_globals(stream: IO[bytes], num_pickles: int) -> Iterator[str]:
    """Yield the classes and functions that pickles name, `module.name`; nothing is unpickled.

    The format before PyTorch 1.6 has four pickles, one after another.
    """
    strings = [""]
    for _ in range(num_pickles):
        for code, argument, _position in pickletools.genops(stream):
            if code.name == "GLOBAL":
                yield str(argument).replace(" ", ".").removeprefix("__builtin__.")
            elif code.name == "STACK_GLOBAL":
                yield ".".join(strings[-2:]).removeprefix("builtins.")
            elif isinstance(argument, str):
                strings.append(argument)


LISTED_NAMES = 5
"""Number of names from a file that a message lists."""


def join_names(names: list[str]) -> str:
    """Return the first names of a list that a file holds as a text for people, and the number of others."""
    listed = ", ".join(map(printable_name, islice(names, LISTED_NAMES)))
    return f"{listed} and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else listed


def printable_name(name: object) -> str:
    """Return a name that a stranger's file holds, without control characters, cut to 100 characters."""
    text = str(name) if str(name).isprintable() else repr(name)
    return text if len(text) <= 100 else f"{text[:97]}..."
