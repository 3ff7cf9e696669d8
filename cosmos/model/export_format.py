"""Folders of exported models: the names of their files, and the record that says what they hold.

open_clip and the Hugging Face hub read such a folder (`local-dir:FOLDER`, `hf-hub:USER/NAME`); this software
reads it as a checkpoint. Nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from cosmos.config.disk_reading import is_file
from cosmos.errors import InputError
from cosmos.run.files import require_own_folder, write_json
from cosmos.run.records import read_record

CLIP_FILE = "open_clip_model.safetensors"
"""File of the plain CLIP, which open_clip reads before others of its suffix."""

PARTS_FILE = "cosmos.safetensors"
"""File of the weights that a plain CLIP does not have."""

OPEN_CLIP_CONFIG_FILE = "open_clip_config.json"
"""File of open_clip's config: the architecture, and how images are prepared."""

EXPORT_FILE = "cosmos.json"
"""File of the record; a folder with it is an exported model."""

README_FILE = "README.md"
"""File of the model card."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
"""Files of the tokenizer: those that open_clip uploads beside a model."""

EXPORTED_FILES = frozenset(
    {CLIP_FILE, PARTS_FILE, OPEN_CLIP_CONFIG_FILE, EXPORT_FILE, README_FILE, *TOKENIZER_FILES}
)
"""All files of an exported model."""

RE_EXPORT = "export the model again, or download the whole folder again"
"""Remedy for an exported model that is damaged."""


@dataclass(frozen=True)
class ModelOrigin:
    """Checkpoint that a model was exported from."""

    run: str
    """path of the run from the folder of runs; "" for a checkpoint without records of its training"""
    checkpoint: str
    """name of the file"""
    sha256: str
    """hash of the file"""
    step: int | None
    epoch: float | None


@dataclass(frozen=True)
class ExportRecord:
    """Contents of cosmos.json."""

    which: Literal["student", "teacher"]
    config: Mapping[str, Any]
    """configuration of the model, as a checkpoint has it"""
    files: Mapping[str, str]
    """hashes of the files of weights, by name"""
    origin: ModelOrigin

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the record of an exported model. Raises as `read_record`."""
        return read_record(folder / EXPORT_FILE, cls, "record of an exported model", RE_EXPORT)

    def write(self, folder: Path) -> None:
        """Write the record into a folder."""
        write_json(folder / EXPORT_FILE, asdict(self))


def is_exported(folder: Path) -> bool:
    """Return True for the folder of an exported model."""
    return is_file(folder / EXPORT_FILE)


def require_export_folder(folder: Path) -> None:
    """Raise InputError, naming a file, for a folder to write that holds more than an exported model.

    A README or a tokenizer may be those of another model: without the record, they are somebody else's.
    """
    names = EXPORTED_FILES if is_exported(folder) else frozenset[str]()
    if is_file(folder):
        raise InputError(f"{folder}: a file; name the folder to write")
    require_own_folder(folder, names.__contains__)
