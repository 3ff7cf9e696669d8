"""Feed of a training: this rank's batches, the next of which is fetched while a step is computed.

A rank that lacks its next batch would leave the others alone in the exchanges of the next step. So it fetches
that batch before the one exchange in which the ranks agree on the end of a step, and tells them there.
"""

from collections.abc import Iterable

from cosmos.config.training_parts import TrainingPart
from cosmos.data.batch import Batch
from cosmos.data.shards.damage import SampleDamage
from cosmos.distributed.exchange import on_every_rank
from cosmos.errors import CosmosError, Interrupted
from cosmos.training.signals import StopRequest
from cosmos.training.step_parts import StepParts


class BatchFeed:
    """Batches of this rank, one ahead of the training."""

    def __init__(self, batches: Iterable[Batch], stop: StopRequest, parts: StepParts) -> None:
        self.batch: Batch | None = None
        """the next batch; None behind the last one, and where it could not be had"""
        self.failure: CosmosError | OSError | None = None
        """the error in place of the next batch"""
        self._batches = iter(batches)
        self._stop = stop
        self._parts = parts
        self._waiting: TrainingPart = "start"

    @property
    def stop_signal(self) -> int:
        """Signal that has asked this rank to stop; 0: none."""
        return self._stop.signal

    @property
    def damage(self) -> tuple[SampleDamage, ...]:
        """Damaged samples in whose place the next batch has others."""
        return self.batch.damage if self.batch else ()

    def fetch(self) -> None:
        """Fetch the next batch; keep an error of ours. A request to stop ends the wait for it at once."""
        self.batch = None
        try:
            with self._parts.timed(self._waiting), self._stop.obeyed_at_once("stopped while data was read"):
                self.batch = next(self._batches, None)
            self._waiting = "data"
        except Interrupted:
            pass  # the ranks agree to stop at the end of the step
        except (CosmosError, OSError) as error:
            self.failure = error

    def raise_failure(self) -> None:
        """Raise the error of some rank on all of them. All ranks call it together."""
        on_every_rank(self._raise_own)

    def gather_damage(self) -> list[SampleDamage]:
        """Return the damage that all ranks met in the next batch. All ranks call it together."""
        parts = on_every_rank(lambda: self.damage)
        return [item for part in parts for item in part]

    def _raise_own(self) -> None:
        if self.failure:
            raise self.failure
