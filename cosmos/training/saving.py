"""Saves beside the training: the state is copied to host memory, and a thread writes the copy to disk."""

import copy
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos.errors import CosmosError, OutOfMemoryError, TransientError, short_reason
from cosmos.run.directory import RunDir
from cosmos.run.lease import Lease
from cosmos.training.checkpoint import Retention, write_checkpoint

logger = logging.getLogger(__name__)

WORTH_TELLING = 1.0
"""Seconds of a wait for the save before, from which on it is told."""

Place = tuple[object, ...]
"""Keys and indices that lead to a value in nested dicts and lists."""


class HostCopy:
    """Copy of a training's state in host memory, in the same tensors each time; of a GPU's, pinned ones."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._tensors: dict[Place, Tensor] = {}

    def take(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of `content`, which the next call overwrites.

        Raises OutOfMemoryError where there is too little memory.
        """
        copied: dict[str, Any] = self._copy(content, ())
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()  # pinned memory is not waited for
        return copied

    def _copy(self, value: Any, place: Place) -> Any:
        if isinstance(value, Tensor):
            return self._tensor_at(place, value).copy_(value, non_blocking=True)
        if isinstance(value, dict):
            copied = copy.copy(value)  # with the attributes of a state dict
            copied.update({key: self._copy(item, (*place, key)) for key, item in value.items()})
            return copied
        if isinstance(value, list):
            return [self._copy(item, (*place, index)) for index, item in enumerate(value)]
        return value

    def _tensor_at(self, place: Place, like: Tensor) -> Tensor:
        """Return the tensor at a place; a new one where there is none of the same shape and type."""
        kept = self._tensors.get(place)
        if kept is None or kept.shape != like.shape or kept.dtype != like.dtype:
            with explaining_full_memory():
                kept = torch.empty_like(like, device="cpu", pin_memory=like.is_cuda)
            self._tensors[place] = kept
        return kept


@contextmanager
def explaining_full_memory() -> Iterator[None]:
    """Raise OutOfMemoryError where torch cannot allocate host memory for a copy inside."""
    try:
        yield
    except RuntimeError as error:
        raise OutOfMemoryError(
            "a copy of weights and optimiser, from which checkpoints are written, needs more memory "
            f"than this process may have ({short_reason(error)}); give it more, or take a smaller model"
        ) from error


class CheckpointWriter:
    """Writer of a run's checkpoints: one at a time, by a thread, while training goes on."""

    def __init__(self, lease: Lease, retention: Retention, device: torch.device) -> None:
        self._lease, self._retention = lease, retention
        self._copy = HostCopy(device)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._work: Future[Any] | None = None
        """the thread's newest save, preparation or task after a save, until `finish` has waited for it"""
        self.is_prepared = False
        """True once `prepare` was called"""

    @property
    def is_pending(self) -> bool:
        """True from the beginning of a save until `finish` has waited for it."""
        return self._work is not None

    @property
    def has_failed(self) -> bool:
        """True when a save ended in an error that `finish` has not raised yet."""
        return self._work is not None and self._work.done() and self._work.exception() is not None

    def prepare(self, content: dict[str, Any]) -> None:
        """Have the thread take the memory for copies of `content`, which the first save would wait for.

        Where there is too little of it, that shows now, and not hours later.
        """
        self.is_prepared = True
        self._work = self._thread.submit(self._copy.take, content)  # while it changes: nobody reads the copy

    def begin(self, content: dict[str, Any]) -> None:
        """Copy the content of a checkpoint, and begin to write it; wait for the save before it, if need be.

        Raises the error of the save before as `finish`, and leaves its own to the next call.
        """
        began = time.monotonic()
        self.finish()
        if (waited := time.monotonic() - began) > WORTH_TELLING:
            logger.warning(
                "training waited %.1f s for the checkpoint before to be written; where that is often, "
                "set a larger COSMOS_CHECKPOINT_EVERY_MINUTES or COSMOS_CHECKPOINT_EVERY_STEPS",
                waited,
            )
        copied = self._copy.take(content)
        self._work = self._thread.submit(write_checkpoint, self._lease, copied, self._retention)

    def then(self, task: Callable[[], None]) -> None:
        """Have the thread do `task` once the newest save is on disk, and before it begins the next one.

        `finish` waits for the task, too. It is not done where the save failed.
        """
        save = self._work

        def follow() -> None:
            if save:
                save.result()
            task()

        self._work = self._thread.submit(follow)

    def finish(self) -> None:
        """Wait until the newest save is on disk; raise its error, once, as `write_checkpoint` does.

        Raises OutOfMemoryError where `prepare` met too little memory.
        """
        if self._work:
            wait([self._work])  # an interruption leaves it to the next call
            work, self._work = self._work, None
            work.result()

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """End the block once no save is under way; log the failure of one, beside the error that ends it.

        A TransientError of the block ends in the name of the newest checkpoint, from which a resume goes on.
        """
        with telling_what_is_saved(self._lease.run):
            try:
                yield
            finally:
                try:
                    self.finish()
                except (CosmosError, OSError) as error:
                    logger.error("the newest checkpoint could not be written: %s", error)


@contextmanager
def telling_what_is_saved(run: RunDir) -> Iterator[None]:
    """Add the newest checkpoint of a run to the message of a TransientError inside, where there is one."""
    try:
        yield
    except TransientError as error:
        saved: list[Path] = []
        with suppress(OSError):  # the disk fails
            saved = run.saved_checkpoints
        if not saved:
            raise
        kept = f"{saved[0].name} is kept, and the run goes on from it"
        raise TransientError(f"{error}; {kept}") from error
