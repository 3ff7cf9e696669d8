"""Export of a model: a folder that open_clip, the Hugging Face hub and this software load."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from cosmos.config.disk_reading import is_file
from cosmos.config.figures import SAMPLES_USED, describe_missing_data
from cosmos.config.machine import Machine
from cosmos.config.number_text import format_number
from cosmos.config.printable_text import print_text
from cosmos.errors import InputError
from cosmos.model.checkpoint_reference import FileReference, checkpoint_to_evaluate
from cosmos.model.checkpoints import Checkpoint, ModelConfig, published_config, read_checkpoint
from cosmos.model.cosmos import Cosmos
from cosmos.model.export_format import README_FILE, ModelOrigin, require_export_folder
from cosmos.model.exported_model import write_exported_model
from cosmos.model.plain_clip import is_beyond_clip
from cosmos.run import provenance
from cosmos.run.directory import RunDir, load_saved_params
from cosmos.run.files import replacing_folder, write_text
from cosmos.run.metrics import last_line_with
from cosmos.run.model_card import ModelCard
from cosmos.run.provenance_record import read_provenance
from cosmos.stages.checkpoint_origin import find_training_records, run_of_checkpoint
from cosmos.stages.evaluation_result import checkpoint_results
from cosmos.stages.hub_card import UNKNOWN_LICENCE, CardFacts, TrainingFacts, hub_card
from cosmos.stages.hub_upload import check_repository, upload_folder

WhichModel = Literal["student", "teacher"]
"""Model of a checkpoint."""

LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
"""Pattern of the hub's identifiers of licences."""


@dataclass(frozen=True)
class Publication:
    """Decisions of the person who exports a model."""

    which: WhichModel = "teacher"
    licence: str = UNKNOWN_LICENCE
    """identifier of the licence in the hub's list"""
    repository: str = ""
    """repository of the hub to upload the folder to; "" for none"""

    def check(self) -> None:
        """Raise InputError for a licence or a repository that the hub would not take, before any work."""
        if not LICENCE.fullmatch(self.licence):
            raise InputError(
                f"--license: {self.licence!r} is no identifier of a licence; give one of the hub's list, as "
                "apache-2.0, cc-by-nc-4.0 or other (https://huggingface.co/docs/hub/repositories-licenses)"
            )
        if self.repository:
            check_repository(self.repository)

    @property
    def address(self) -> str:
        """Address by which open_clip loads the model, for the model card."""
        return f"hf-hub:{self.repository}" if self.repository else "local-dir:FOLDER"


@dataclass(frozen=True)
class ExportedModel:
    """Folder of an exported model, and the code that loads it."""

    folder: str
    which: WhichModel
    run: str
    """run that the model is of; "" for a checkpoint without records of its training"""
    checkpoint: str
    code: str
    """Python by which open_clip loads it"""
    commit: str
    """address of the commit of the hub; "" for a model that was not uploaded"""


@dataclass(frozen=True)
class ExportSource:
    """Checkpoint to export, and the folders that have records of it."""

    file: Path
    name: str
    """name of the checkpoint for people: the file's, or the reference"""
    published_name: str
    """name by which the architecture of a published checkpoint is known"""
    run_name: str
    """name of the run; "" for a checkpoint without records of its training"""
    records: RunDir | None
    """folder with the records of the training"""
    measured: tuple[RunDir, ...]
    """folders that may have results of the checkpoint"""

    @classmethod
    def find(cls, name: str, machine: Machine) -> Self:
        """Return the source of a run, whose newest checkpoint it is, or of a checkpoint's reference.

        Raises InputError for a name that is neither, and the errors of a download.
        """
        path, checkpoint = run_of_checkpoint(name, machine)
        run = RunDir(path)
        reference = checkpoint_to_evaluate(run, checkpoint)
        records = find_training_records(run, checkpoint)
        return cls(
            reference.fetch(machine.cache_root),
            reference.path.name if isinstance(reference, FileReference) else reference.text,
            reference.name,
            name_of_run(records, machine) if records else "",
            records,
            tuple({folder.path.resolve(): folder for folder in (records or run, run)}.values()),
        )

    @classmethod
    def of_run(cls, run: RunDir, checkpoint: Path, run_name: str) -> Self:
        """Return the source of a checkpoint in a run."""
        return cls(checkpoint, checkpoint.name, checkpoint.stem, run_name, run, (run,))

    def origin(self, checkpoint: Checkpoint, sha256: str) -> ModelOrigin:
        """Return the origin of a model of this source."""
        step, epoch = (number_of(checkpoint.extra.get(key)) for key in ("step", "epoch"))
        return ModelOrigin(self.run_name, self.name, sha256, None if step is None else int(step), epoch)


def name_of_run(records: RunDir, machine: Machine) -> str:
    """Return the name of the run that a folder with its records is, or is a copy of."""
    if card := ModelCard.read(records.path):
        return card.run
    path, root = records.path.resolve(), machine.runs_root.resolve()
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


def number_of(value: Any) -> float | None:
    """Return a number of a stranger's file; None for any other value."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def export_model(
    name: str, folder: Path, publication: Publication, machine: Machine, quiet: bool = False
) -> ExportedModel:
    """Write a model of a run or a checkpoint into a folder, and upload it where a repository is named.

    The folder is replaced as a whole, or stays as it was. Raises InputError for a folder that holds anything
    but an exported model; other errors as `write_export` and `upload_folder`.
    """
    publication.check()
    require_export_folder(folder)
    source = ExportSource.find(name, machine)
    if source.file.parent.resolve() == folder.resolve():
        raise InputError(f"{folder}: the model itself; name another folder")
    with replacing_folder(folder) as new:
        write_export(new, source, publication)
    commit, repository = "", publication.repository
    if repository:
        commit = upload_folder(
            folder, repository, f"Upload {' '.join([source.run_name, source.name]).strip()}"
        )
    model = publication.which, source.run_name, source.name
    exported = ExportedModel(str(folder), *model, loading_code(folder), commit)
    if not quiet:
        print_exported(exported, publication)
    return exported


def write_export(folder: Path, source: ExportSource, publication: Publication) -> None:
    """Write a model, its configs, its tokenizer and its card into an empty folder. Equal models, equal bytes.

    Raises InputError for a checkpoint that does not say its architecture, has not the model that is asked
    for, or has weights that are not finite; other errors as `read_checkpoint`.
    """
    checkpoint, which = read_checkpoint(source.file), publication.which
    config = architecture_of(checkpoint, source)
    model = checkpoint.load(which, config)
    origin = source.origin(checkpoint, provenance.file_sha256(source.file))
    write_exported_model(folder, model, config, which, origin)
    facts = card_facts(source, publication, origin, config, model)
    write_text(folder / README_FILE, hub_card(facts))


def architecture_of(checkpoint: Checkpoint, source: ExportSource) -> ModelConfig:
    """Return the configuration of a checkpoint's models. Raises InputError where nothing tells it."""
    config = checkpoint.config or published_config(source.published_name)
    if config is None:
        raise InputError(
            f"{source.file}: does not say its architecture; without a `config` a published checkpoint is "
            "known by the name of its file, as cosmos_vitb16_cc3m.pt"
        )
    return config


def card_facts(
    source: ExportSource, publication: Publication, origin: ModelOrigin, config: ModelConfig, model: Cosmos
) -> CardFacts:
    """Return the facts that the card of a model says. DamagedDataError for a damaged record of its run."""
    state = model.state_dict()
    return CardFacts(
        name=source.run_name or source.published_name,
        which=publication.which,
        origin=origin,
        config=config,
        context_length=model.context_length,
        num_weights=sum(value.numel() for name, value in state.items() if not is_beyond_clip(name)),
        licence=publication.licence,
        address=publication.address,
        results=checkpoint_results(source.measured, origin.sha256),
        training=training_facts(source.records, origin) if source.records else None,
    )


def training_facts(records: RunDir, origin: ModelOrigin) -> TrainingFacts:
    """Return what a run recorded of its training until a checkpoint."""
    params = load_saved_params(records)
    recorded = read_provenance(records.provenance) if is_file(records.provenance) else None
    missing = describe_missing_data(last_line_with(SAMPLES_USED.name, records.metrics))
    remarks = [f"It was trained on {missing} of them: the others are missing or damaged."] if missing else []
    epochs = params.pretrain.epochs
    if origin.epoch is not None and origin.epoch < epochs:
        remarks.append(f"The training had come to {format_number(origin.epoch)} of its {epochs} epochs.")
    return TrainingFacts(params, recorded, " ".join(remarks))


def loading_code(folder: Path) -> str:
    """Return the Python by which open_clip loads an exported model."""
    address = f"local-dir:{folder}"
    return (
        f"model, _, preprocess = open_clip.create_model_and_transforms({address!r})\n"
        f"tokenizer = open_clip.get_tokenizer({address!r})"
    )


def print_exported(exported: ExportedModel, publication: Publication) -> None:
    """Print the code that loads a model, where it was uploaded, and that its licence is not known."""
    print_text(exported.code)
    if exported.commit:
        print_text(
            f"uploaded: {exported.commit}\na new repository is private; its settings there make it public"
        )
    if publication.licence == UNKNOWN_LICENCE:
        print_text("licence: unknown; --license states it in the model card, as cc-by-nc-4.0")
