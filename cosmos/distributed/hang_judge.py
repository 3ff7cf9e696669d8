"""Judge of hangs: the first rank's part of the watch, which knows the beats of all ranks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cosmos.distributed.hang_report import Hang, write_hang_report
from cosmos.distributed.rank_beats import WORD_KEY, Answer, Position, Word, answer_key, beat_key
from cosmos.distributed.roll_call import RankProcess


class HangJudge:
    """Reader of all ranks' beats, who calls for their stacks once none of them gets on while some wait.

    A rank that moves is waited for, however long it takes: it evaluates, or reads again what cannot be read.
    """

    def __init__(
        self, store: Any, roll: Sequence[RankProcess], limit: float, patience: float, folder: Path
    ) -> None:
        """`limit`, `patience`: seconds after which ranks hang, and after which one does not answer."""
        self._store, self._roll, self._limit, self._patience = store, roll, limit, patience
        self._folder = folder
        self._beats = [""] * len(roll)
        self._silence = [0.0] * len(roll)
        """seconds since each rank's newest beat"""
        self._asked = 0.0
        """seconds since the call that is under way"""
        self._calls = 0
        self._word = Word()

    def look(self, elapsed: float) -> None:
        """Read the beats, `elapsed` seconds after the look before, and tell all ranks what follows."""
        if self._word.verdict:
            return
        positions = self._read_positions(elapsed)
        self._say(self._judge(positions, elapsed) if self._is_hang(positions) else Word())

    def _is_hang(self, positions: Sequence[Position]) -> bool:
        """Return True where no rank moves, and some wait for others, or all take twice as long.

        With a GPU, a rank may wait for others in whatever reads from it first.
        """
        still = min(position.still for position in positions)
        waits = any(position.exchange for position in positions)
        waits |= len({position.num_exchanges for position in positions}) > 1
        return still >= (self._limit if waits else 2 * self._limit)

    def _read_positions(self, elapsed: float) -> list[Position]:
        beats = self._store.multi_get([beat_key(rank) for rank in range(len(self._roll))])
        for rank, beat in enumerate(map(bytes.decode, beats)):
            is_new = beat != self._beats[rank]
            self._silence[rank] = 0.0 if is_new else self._silence[rank] + elapsed
            self._beats[rank] = beat
        positions = map(Position.read, self._beats)
        return [
            replace(position, still=position.still + silence)
            for position, silence in zip(positions, self._silence, strict=True)
        ]

    def _judge(self, positions: Sequence[Position], elapsed: float) -> Word:
        """Return the call to all ranks and, once they have answered or had the time to, the verdict."""
        if not self._word.call:
            self._calls, self._asked = self._calls + 1, 0.0
            return Word(call=self._calls)
        self._asked += elapsed
        answers = self._read_answers()
        if len(answers) < len(self._roll) and self._asked < self._patience:
            return Word(call=self._calls)
        states = {rank: state for answer in answers.values() for rank, state in answer.states}
        silent = frozenset(range(len(self._roll))) - answers.keys()
        hang = Hang(dict(enumerate(self._roll)), dict(enumerate(positions)), silent, states)
        report = hang.text({rank: answer.stacks for rank, answer in answers.items()})
        place = write_hang_report(self._folder, hang.step, report)
        return Word(call=self._calls, verdict=f"{hang.summary()}{place}", silent=tuple(sorted(silent)))

    def _read_answers(self) -> dict[int, Answer]:
        """Return the answers to the call that have come, by rank."""
        keys = {process.rank: answer_key(self._calls, process.rank) for process in self._roll}
        there = {rank: key for rank, key in keys.items() if self._store.check([key])}
        return {rank: Answer.read(self._store.get(key).decode()) for rank, key in there.items()}

    def _say(self, word: Word) -> None:
        self._word = replace(word, number=self._word.number + 1)
        self._store.set(WORD_KEY, self._word.write())
