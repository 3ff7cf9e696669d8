"""Clock of the watch over ranks."""

import time

from cosmos.distributed.rank_beats import Answer, Position, WatchedClock, Word


def test_the_time_for_which_a_process_was_suspended_does_not_count() -> None:
    clock = WatchedClock(period=0.01)
    time.sleep(0.01)
    assert 0.01 <= clock.tick() <= 0.03
    time.sleep(0.1)
    assert clock.tick() == 0.03


def test_what_ranks_tell_is_read_back() -> None:
    position = Position(
        step=7, activity="the save", exchange="the save", num_exchanges=3, still=1.5, number=2
    )
    assert Position.read(position.write()) == position
    word = Word(number=3, call=1, verdict="rank 1 hangs", silent=(1, 4))
    assert Word.read(word.write()) == word
    answer = Answer("thread MainThread", ((1, "stopped"),))
    assert Answer.read(answer.write()) == answer
