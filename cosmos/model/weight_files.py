"""Files of weights from anywhere: read without executing anything in them, or refused by what they are."""

import errno
import pickletools
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cosmos.errors import CosmosError, DamagedDataError, InputError, convert_os_error

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

    Tensors are mapped, not copied, except those of the format of PyTorch before 1.6: of a large file only
    the parts in use are read. Raises InputError for a file that does not exist or is of another format,
    DamagedDataError for broken bytes, and TransientError where the disk fails.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
        return _load(path, start)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise convert_os_error(error, f"{path}: cannot be read ({error})") from error


def _load(path: Path, start: bytes) -> Any:
    if not start:
        raise DamagedDataError(f"{path}: not a checkpoint: the file is empty; copy or download it again")
    if re.match(rb"[\s\S]{8}\{", start):
        return _load_safetensors(path)
    if start.startswith(b"PK"):
        refuse_other_archives(path)
        return _load_plain_values(path, mmap=True)
    for form in FOREIGN_FORMATS:
        if re.match(form.start, start):
            raise InputError(f"{path}: {form.description}; {form.remedy}")
    return _load_plain_values(path, mmap=False)


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise DamagedDataError(
            f"{path}: not a whole file of safetensors ({error}); copy or download it again"
        ) from None


def refuse_other_archives(path: Path) -> None:
    """Raise InputError for a whole zip archive that torch.save did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return
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
        raise DamagedDataError(f"{path}: cut short; copy or download it again") from None
    except Exception as error:  # a damaged stream can end in any exception of the unpickler
        raise refusal(path, error) from None


def refusal(path: Path, error: Exception) -> CosmosError:
    """Return the error of ours for a file that torch refused: InputError where its author wrote it so."""
    reason = unpickling_problem(error)
    name, is_whole = refused_class(path, reason), is_whole_archive(path)
    if name and (is_whole or not zipfile.is_zipfile(path)):
        return InputError(
            f"{path}: holds `{printable_name(name)}`, which is not read, since it could execute code; if "
            "you trust its author, load it by torch.load(..., weights_only=False) and save the state dicts "
            f"alone: {CONVERSION_PAGE}"
        )
    if is_whole:
        return InputError(f"{path}: not a checkpoint that can be read safely: {reason}")
    return DamagedDataError(f"{path}: broken or cut short ({reason}); copy or download it again")


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
        if zipfile.is_zipfile(path):
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


def is_whole_archive(path: Path) -> bool:
    """Return True for a zip archive whose pickles have the checksums that they were written with.

    Such a file that cannot be read was written so by its author; any other file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".pkl"):
                    archive.read(member)
    except OSError:
        raise
    except Exception:  # as above
        return False
    return True


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
