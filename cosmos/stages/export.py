"""The export of the plain CLIP inside a checkpoint, for open_clip."""

from pathlib import Path

from cosmos.config.machine import Machine
from cosmos.errors import InputError
from cosmos.model import checkpoints
from cosmos.model.checkpoint_reference import parse_checkpoint_reference


def export_plain_clip(checkpoint: str, output: Path, which: str, machine: Machine) -> str:
    """Write the plain CLIP inside a checkpoint; return the code with which open_clip loads it.

    Raises InputError for a checkpoint that does not say its architecture.
    """
    reference = parse_checkpoint_reference(checkpoint)
    source = checkpoints.read_checkpoint(reference.fetch(machine.cache_root))
    config = source.config or checkpoints.published_config(reference.name)
    if config is None:
        raise InputError(f"{checkpoint}: does not say its architecture, and has no published name")
    checkpoints.export_clip(source.load(which, config), config, output)
    if config.model.architecture != "inline":
        return f"open_clip.create_model('{config.model.architecture}', pretrained='{output}')"
    description = output.with_suffix(".json")
    return (
        f"open_clip.add_model_config('{description}')\n"
        f"open_clip.create_model('{output.stem}', pretrained='{output}')"
    )
