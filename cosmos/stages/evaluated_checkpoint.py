"""Checkpoint under evaluation: its file, its models as encoders, and the identity of their weights."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.distributed.group import rank
from cosmos.evaluation.embed import Encoder
from cosmos.evaluation.fingerprint import fingerprint_strings
from cosmos.model import checkpoints
from cosmos.model.checkpoint_reference import (
    CheckpointReference,
    OpenClipReference,
    checkpoint_to_evaluate,
)
from cosmos.model.checkpoints import Checkpoint, ModelConfig, is_exported_clip
from cosmos.model.encoders import make_encoder, open_clip_baseline
from cosmos.run import provenance
from cosmos.run.directory import RunDir

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluatedCheckpoint:
    """Checkpoint that is measured, and the models in it."""

    reference: CheckpointReference
    machine: Machine

    @cached_property
    def path(self) -> Path:
        """Path of its file, downloaded if need be."""
        return self.reference.fetch(self.machine.cache_root)

    @cached_property
    def sha256(self) -> str:
        """Hash of its file; "" where there is none."""
        return provenance.file_sha256(self.path)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Content of its file."""
        return checkpoints.read_checkpoint(self.path)

    def models(self, params: Params) -> tuple[str, ...]:
        """Return the names of its models that are to be evaluated: of an exported model the only one."""
        requested = params.evaluate.models
        if not is_exported_clip(self.path):
            return requested
        held = "teacher" if self.checkpoint.teacher else "student"
        return (held,) if held in requested else requested  # which it does not hold

    def encoders(self, params: Params, device: torch.device) -> Iterator[tuple[str, Encoder]]:
        """Yield its models that are to be evaluated, by name, one in memory at a time."""
        config, precision = self.config(params), params.evaluate.precision
        if not self.own_config and rank() == 0:
            logger.warning(
                "%s: does not say its architecture; it is built by the parameters: %s, with %d heads of "
                "cross-attention, which no shape of a weight shows",
                self.reference.text,
                config.model.architecture,
                config.model.cross_attention_heads,
            )
        for model in self.models(params):
            yield model, make_encoder(self.checkpoint, model, config, device, precision)

    def config(self, params: Params) -> ModelConfig:
        """Return the architecture: of the file, of its published name, or else of the parameters."""
        return self.own_config or ModelConfig.of(params)

    @property
    def own_config(self) -> ModelConfig | None:
        """Architecture by the file itself or its published name; None where neither tells it."""
        return self.checkpoint.config or checkpoints.published_config(self.reference.name)

    def identity(self, params: Params) -> str:
        """Return a text that differs once the weights or the architecture do."""
        return f"{self.sha256} {self.config(params)}"

    def fingerprint(self, params: Params, *parts: str) -> str:
        """Return a hash of its models, the precision, the code and the parts."""
        precision = params.evaluate.precision
        return fingerprint_strings([self.identity(params), precision, provenance.source_digest(), *parts])


@dataclass(frozen=True)
class EvaluatedBaseline(EvaluatedCheckpoint):
    """Model of open_clip that is measured under the name `baseline`."""

    reference: OpenClipReference

    @cached_property
    def sha256(self) -> str:
        """Hash of the weights' file; "" for weights that open_clip keeps."""
        return provenance.file_sha256(self.path) if self.reference.is_file else ""

    def models(self, params: Params) -> tuple[str, ...]:
        """Return the name under which it is measured."""
        return ("baseline",)

    def encoders(self, params: Params, device: torch.device) -> Iterator[tuple[str, Encoder]]:
        """Yield the baseline, by name."""
        (name,) = self.models(params)
        yield name, open_clip_baseline(self.reference, device, params.evaluate.precision)

    def identity(self, params: Params) -> str:
        """Return a text that differs once the weights or the architecture do."""
        return f"{self.sha256} {self.reference.text}"


def find_evaluated_checkpoint(run: RunDir, checkpoint: str, machine: Machine) -> EvaluatedCheckpoint:
    """Return the checkpoint that `checkpoint` names, or else the run's newest. InputError where none is."""
    reference = checkpoint_to_evaluate(run, checkpoint)
    if isinstance(reference, OpenClipReference):
        return EvaluatedBaseline(reference, machine)
    return EvaluatedCheckpoint(reference, machine)
