"""The export of the plain CLIP inside a checkpoint, for open_clip."""

from dataclasses import dataclass
from pathlib import Path

from cosmos.config.machine import Machine
from cosmos.errors import InputError
from cosmos.model import checkpoints
from cosmos.model.checkpoint_reference import parse_checkpoint_reference
from cosmos.model.plain_clip import export_clip


@dataclass(frozen=True)
class ExportedClip:
    """A plain CLIP's files, and the code that loads it."""

    output: str
    """file of the weights"""
    which: str
    """model of the checkpoint: student or teacher"""
    config: str
    """file of open_clip's config; "" where open_clip has a name for the model"""
    code: str
    """Python by which open_clip loads it"""


def export_plain_clip(checkpoint: str, output: Path, which: str, machine: Machine) -> ExportedClip:
    """Write the plain CLIP inside a checkpoint.

    Raises InputError for a checkpoint that does not say its architecture, and for an output that is a folder
    or a file in use; other errors as `export_clip`.
    """
    reference = parse_checkpoint_reference(checkpoint)
    path = reference.fetch(machine.cache_root)
    check_output(output, path)
    source = checkpoints.read_checkpoint(path)
    config = source.config or checkpoints.published_config(reference.name)
    if config is None:
        raise InputError(
            f"{checkpoint}: does not say its architecture; without a `config` a published checkpoint is "
            "known by the name of its file, as cosmos_vitb16_cc3m.pt"
        )
    description = export_clip(source.load(which, config), config, output)
    code = loading_code(output, description, config.model.architecture)
    return ExportedClip(str(output), which, str(description or ""), code)


def check_output(output: Path, checkpoint: Path) -> None:
    """Raise InputError for an output that would replace the checkpoint itself, or is no file for weights."""
    if output.is_dir():
        raise InputError(f"{output}: a folder; give the file to write, as {output / 'clip.pt'}")
    if output.suffix == ".json":
        raise InputError(f"{output}: .json is the config's suffix; give a file for the weights, as clip.pt")
    if output.exists() and output.samefile(checkpoint):
        raise InputError(f"{output}: the checkpoint itself, which would be lost; give another file")


def loading_code(output: Path, description: Path | None, architecture: str) -> str:
    """Return the Python by which open_clip loads an exported CLIP."""
    if description is None:
        return f"open_clip.create_model({architecture!r}, pretrained={str(output)!r})"
    return (
        f"open_clip.add_model_config({str(description)!r})\n"
        f"open_clip.create_model({output.stem!r}, pretrained={str(output)!r})"
    )
