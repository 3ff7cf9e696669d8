"""Checkpoint references: names of checkpoints in commands, each parsed into an object that fetches its file.

    runs/a/checkpoints/step-00000100.pt       a file, or the folder of an exported model
    published:cosmos_vitb16_cc3m              a checkpoint that the authors of COSMOS published on the hub
    open_clip:ViT-B-32:openai                 a baseline, whose weights open_clip downloads and keeps
    dvc:HEAD~1:pipeline/model/checkpoint.pt   a file as it was at a revision of git

Nothing here imports torch: commands that submit jobs parse references, and fetch what a node could not.
"""

import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from cosmos.config.disk_reading import exists, find_paths, folders_with, is_dir, is_file, list_names
from cosmos.config.near_names import near_names
from cosmos.config.section import expand_home
from cosmos.errors import CosmosError, InputError, TransientError, convert_os_error
from cosmos.model.export_format import CLIP_FILE, is_exported
from cosmos.run import dvc_versions
from cosmos.run.directory import RunDir
from cosmos.run.files import file_label

HUB_REPOSITORY = "sankim2/cosmos"
"""Repository of the hub in which the authors of COSMOS publish their checkpoints."""

PUBLISHED_ARCHITECTURES = {
    f"cosmos_{arch}_{data}": name
    for arch, name in (("vitb16", "ViT-B-16"), ("vitb32", "ViT-B-32"))
    for data in ("cc3m", "cc12m", "yfcc15m", "merged30m", "pixelprose")
}
"""open_clip's names of the architectures of the published checkpoints, by checkpoint."""


@dataclass(frozen=True)
class CheckpointReference(ABC):
    """A checkpoint, as a command names it."""

    text: str
    """the reference as it was written"""

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """Parse a reference of this kind. Raises InputError, which names the form, for another text."""

    @abstractmethod
    def fetch(self, cache: Path) -> Path:
        """Return the checkpoint's file, downloaded into `cache` where it is not on this machine yet.

        Raises InputError for a file that does not exist, and TransientError for a failing download.
        """

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the checkpoint's file without folder and suffix: published checkpoints are known by it."""

    @property
    def label(self) -> str:
        """The reference as a name for files and folders."""
        return file_label(self.text)


@dataclass(frozen=True)
class FileReference(CheckpointReference):
    """A file on this machine, or the folder of an exported model."""

    path: Path

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference to the file at `text`, whether or not it exists."""
        return cls(text, expand_home(Path(text)))

    @property
    def exists(self) -> bool:
        """True for a file, and for the folder of an exported model."""
        return is_file(self.path) or is_exported(self.path)

    def fetch(self, cache: Path) -> Path:
        """Return the file, of an exported model that of its plain CLIP. InputError where there is none."""
        if is_exported(self.path):
            return self.path / CLIP_FILE
        if is_dir(self.path):
            raise InputError(f"{self.path}: a folder, not a file; {folder_remedy(self.path)}")
        if not exists(self.path):
            raise InputError(
                f"{self.path}: no such checkpoint; give a file, dvc:REV:PATH, or published: and one of "
                f"{', '.join(PUBLISHED_ARCHITECTURES)}"
            )
        if not is_file(self.path):
            raise InputError(f"{self.path}: a pipe or a device, which may never answer or end; give a file")
        return self.path

    @property
    def name(self) -> str:
        """Name of the file without folder and suffix."""
        return self.path.stem


def folder_remedy(folder: Path) -> str:
    """Return the way from a folder that was given in place of a checkpoint's file to the file."""
    saved = RunDir(folder).saved_checkpoints
    if saved:
        return f"the newest checkpoint of this run is {saved[0]}"
    places = shlex.join([str(folder), f"{folder}.pt"])
    if exists(folder / ".metadata"):
        return f"join its shards: python -m torch.distributed.checkpoint.format_utils dcp_to_torch {places}"
    if exists(folder / "zero_to_fp32.py") or find_paths(folder, "mp_rank_*_model_states.pt"):
        return f"join DeepSpeed's shards: python zero_to_fp32.py {places}"
    files = [name for name in list_names(folder) if Path(name).suffix in WEIGHT_SUFFIXES]
    return f"give a file of it, as {folder / files[0]}" if files else "there is no checkpoint in it"


WEIGHT_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt", ".safetensors"}
"""Suffixes of files of weights."""


@dataclass(frozen=True)
class PublishedReference(CheckpointReference):
    """A checkpoint that the authors of COSMOS published."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference that `published:NAME` is. Raises InputError for an unknown name."""
        reference = cls(text)
        if reference.name not in PUBLISHED_ARCHITECTURES:
            near = near_names(reference.name, PUBLISHED_ARCHITECTURES)
            raise InputError(f"{text}: no such published checkpoint; {near}")
        return reference

    def fetch(self, cache: Path) -> Path:
        """Return the file in the hub's cache, downloaded if need be. Raises TransientError on failure."""
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(HUB_REPOSITORY, f"{self.name}.pt", cache_dir=cache))
        except OSError as error:
            message = f"{self.text}: could not be downloaded from the hub ({error}); give a local file"
            raise convert_hub_error(error, message) from error

    @property
    def name(self) -> str:
        """Published name of the checkpoint."""
        return self.text.partition(":")[2]


def convert_hub_error(error: BaseException, message: str) -> CosmosError:
    """Return the error of ours for a failed download, from the error that other libraries may have wrapped.

    It is an InputError where the hub does not have the file, and where neither network nor disk failed.
    """
    from huggingface_hub.errors import (
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
    )

    reasons = [reason for reason in error_chain(error) if isinstance(reason, OSError)]
    if any(isinstance(reason, LocalEntryNotFoundError) for reason in reasons):
        return TransientError(message)  # neither in the cache, nor can the hub be reached
    if any(isinstance(reason, RemoteEntryNotFoundError | RepositoryNotFoundError) for reason in reasons):
        return InputError(message)
    return convert_os_error(reasons[-1], message) if reasons else InputError(message)


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then the one it was raised from or in the handling of, and so on."""
    reason: BaseException | None = error
    while reason:
        yield reason
        reason = reason.__cause__ or reason.__context__


@dataclass(frozen=True)
class OpenClipReference(CheckpointReference):
    """A baseline with open_clip's pretrained weights."""

    architecture: str
    tag: str
    """open_clip's name for the weights, or a file that holds them"""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference that `open_clip:ARCHITECTURE:TAG` is."""
        _, architecture, tag = (*text.split(":", 2), "", "")[:3]
        if not (architecture and tag):
            raise InputError(f"{text}: write open_clip:<architecture>:<tag>, as open_clip:ViT-B-32:openai")
        return cls(text, architecture, tag)

    @property
    def is_file(self) -> bool:
        """True when the tag names a file, whose weights are the user's own."""
        return is_file(expand_home(Path(self.tag)))

    def fetch(self, cache: Path) -> Path:
        """Return the file that the tag names. Raises InputError for weights that open_clip keeps."""
        if not self.is_file:
            raise InputError(f"{self.text}: open_clip keeps these weights; give a checkpoint of COSMOS")
        return expand_home(Path(self.tag))

    @property
    def name(self) -> str:
        """The whole reference: no checkpoint of COSMOS is called so."""
        return self.text


@dataclass(frozen=True)
class DvcReference(CheckpointReference):
    """A file as it was at a revision of git, in the DVC repository that is worked in."""

    revision: str
    path: str
    """relative to the repository's root"""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference that `dvc:REV:PATH` is."""
        _, revision, path = (*text.split(":", 2), "", "")[:3]
        if not (revision and path) or PurePosixPath(path).is_absolute():
            raise InputError(
                f"{text}: expected dvc:REV:PATH, such as dvc:HEAD~1:pipeline/model/checkpoint.pt"
            )
        return cls(text, revision, path)

    def fetch(self, cache: Path) -> Path:
        """Return the file from DVC's cache or a remote, kept in `cache` under its hash."""
        return dvc_versions.fetch_version(self.revision, self.path, cache / "dvc")

    @property
    def name(self) -> str:
        """Name of the file without folder and suffix."""
        return PurePosixPath(self.path).stem


KINDS: dict[str, type[CheckpointReference]] = {
    "published": PublishedReference,
    "open_clip": OpenClipReference,
    "dvc": DvcReference,
}
"""Classes of references by the prefix before the first colon; a reference without one is a file."""


def parse_checkpoint_reference(text: str) -> CheckpointReference:
    """Parse a reference. Raises InputError for an unknown kind and for a wrong form."""
    kind = re.match(r"(\w+):", text)
    if not kind:
        return FileReference.parse(text)
    if kind[1] not in KINDS:
        near = near_names(kind[1], KINDS)
        raise InputError(
            f"{text}: no kind of checkpoint is called {kind[1]!r}; {near}; a file of that name is ./{text}"
        )
    return KINDS[kind[1]].parse(text)


def checkpoint_to_evaluate(run: RunDir, checkpoint: str) -> CheckpointReference:
    """Parse the reference `checkpoint`; "" stands for the run's newest checkpoint.

    Raises InputError for a malformed reference, and for a run without checkpoints.
    """
    if checkpoint:
        return parse_checkpoint_reference(checkpoint)
    saved = run.saved_checkpoints
    if not saved:
        trained = [folder.name for folder in folders_with(run.path.parent, "checkpoints")]
        near = near_names(run.path.name, trained, "`cosmos pretrain` makes one, --checkpoint names another")
        raise InputError(f"{run.path}: no checkpoint; {near}")
    return FileReference(str(saved[0]), saved[0])
