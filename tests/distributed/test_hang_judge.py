"""Judgement of the first rank: which ranks hang, by their beats."""

from dataclasses import replace
from pathlib import Path

from torch._C._distributed_c10d import HashStore

from cosmos.distributed.hang_judge import HangJudge
from cosmos.distributed.rank_beats import WORD_KEY, Answer, Position, Word, answer_key, beat_key, open_keys
from cosmos.distributed.roll_call import RankProcess

LIMIT, PATIENCE = 60.0, 5.0
AGREEMENT = Position(step=120, activity="agreement", exchange="agreement", num_exchanges=9, still=70.0)
LOADING = Position(step=120, activity="waiting for data", num_exchanges=8, still=65.0)


class Ranks:
    """Three ranks of another host, by their beats, and the judge."""

    def __init__(self, folder: Path) -> None:
        self.store = HashStore()
        roll = [RankProcess(rank, "node7", 4710 + rank, "") for rank in range(3)]
        self.judge = HangJudge(self.store, roll, LIMIT, PATIENCE, folder)
        for rank in range(3):
            open_keys(self.store, rank)
        self.number = 0

    def say(self, *positions: Position | None) -> None:
        """Have each rank tell its position; None: one that has stopped."""
        self.number += 1
        for rank, position in enumerate(positions):
            if position:
                self.store.set(beat_key(rank), replace(position, number=self.number).write())

    def answer(self, call: int, *ranks: int) -> None:
        for rank in ranks:
            answer = Answer(f"stack of {'main' if rank else 'the first'}", ((1, "stopped"),))
            self.store.set(answer_key(call, rank), answer.write())

    def word_after(self, seconds: float = 1.0) -> Word:
        self.judge.look(seconds)
        return Word.read(self.store.get(WORD_KEY).decode())


def test_a_rank_that_moves_is_waited_for_and_one_that_does_not_is_named(tmp_path: Path) -> None:
    ranks = Ranks(tmp_path)
    assert ranks.word_after() == Word(number=1)  # before the first beat
    ranks.say(AGREEMENT, replace(LOADING, still=3.0), AGREEMENT)
    assert ranks.word_after().call == 0
    ranks.say(AGREEMENT, LOADING, AGREEMENT)
    assert ranks.word_after().call == 1
    ranks.say(AGREEMENT, replace(LOADING, still=0.0), AGREEMENT)  # it went on meanwhile
    assert ranks.word_after().call == 0
    ranks.say(AGREEMENT, LOADING, AGREEMENT)
    assert ranks.word_after().call == 2
    ranks.answer(2, 0, 1, 2)
    verdict = ranks.word_after()
    assert verdict.silent == ()
    assert verdict.verdict == (
        'at step 120, ranks 0, 2 wait in "agreement" for 71 s; missing: rank 1 (node7, pid 4711): in '
        f'"waiting for data" for 66 s; stopped; all ranks\' stacks: {tmp_path}/hang-00000120.txt'
    )
    report = (tmp_path / "hang-00000120.txt").read_text()
    assert "\nrank 0\nstack of the first\n" in report
    assert "\nranks 1-2\nstack of main\n" in report


def test_a_rank_that_does_not_answer_is_silent_once_it_had_the_time(tmp_path: Path) -> None:
    ranks = Ranks(tmp_path / "gone")
    ranks.say(AGREEMENT, replace(LOADING, still=0.0), AGREEMENT)
    assert ranks.word_after().call == 0
    for _ in range(int(LIMIT) - 1):  # it has beaten no more
        ranks.say(AGREEMENT, None, AGREEMENT)
        assert ranks.word_after().call == 0
    ranks.say(AGREEMENT, None, AGREEMENT)
    assert ranks.word_after().call == 1
    ranks.answer(1, 0, 2)
    for seconds in (2.0, 2.0):
        assert ranks.word_after(seconds).verdict == ""
    verdict = ranks.word_after(2.0)
    assert verdict.silent == (1,)
    assert verdict.verdict.endswith(
        'missing: rank 1 (node7, pid 4711): does not answer; stopped; it was in "waiting for data" when it '
        "last told, 66 s ago"
    )
    assert "hang-" not in verdict.verdict  # there is no folder


def test_ranks_that_compute_wait_for_nobody_and_ranks_in_one_exchange_miss_nobody(tmp_path: Path) -> None:
    ranks = Ranks(tmp_path)
    ranks.say(LOADING, LOADING, LOADING)
    assert ranks.word_after().call == 0
    computing = replace(AGREEMENT, exchange="")  # as on a GPU, until something is read from it
    ranks.say(computing, LOADING, computing)
    assert ranks.word_after().call == 1
    ranks.say(*[replace(LOADING, still=2 * LIMIT)] * 3)
    assert ranks.word_after().call == 1
    ranks.say(LOADING, LOADING, LOADING)
    assert ranks.word_after().call == 0
    ranks.say(AGREEMENT, AGREEMENT, AGREEMENT)
    assert ranks.word_after().call == 2
    ranks.answer(2, 0, 1, 2)
    assert 'all 3 ranks wait in "agreement" for 71 s, and none is missing' in ranks.word_after().verdict
