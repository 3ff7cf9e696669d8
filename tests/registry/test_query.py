from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmos.registry.query import (
    Condition,
    RunRow,
    all_keys,
    parse_conditions,
    resolve_key,
    run_row,
    sort_rows,
)
from cosmos.registry.record import RunRecord

RECALL = "retrieval/heldout/teacher/image_to_text_R@1"
RECORD = RunRecord(
    "ema",
    seconds_silent=4.04,
    started="2026-07-20T10:00:00+00:00",
    tags=("ema", "first try"),
    commit="c0ffee",
    params={
        **{"pretrain.momentum": 0.96, "pretrain.epochs": 3, "pretrain.seed": 0, "data.seed": 1},
        **{"data.name": "demo", "evaluate.datasets": "heldout,coco", "model.pooled": True, "loss.mask": None},
    },
    metrics={"loss": 2.5, "step": 15.0, RECALL: 0.25, "retrieval/heldout/student/image_to_text_R@1": 0.2},
)
KNOWN = all_keys([RECORD])


def means(text: str) -> str:
    return resolve_key(text, KNOWN)


class TestKeys:
    """A key is what a run is, the path of a parameter, or a metric; or an end of it that no other has."""

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("name", "name"),
            ("tag", "tags"),
            ("momentum", "pretrain.momentum"),
            ("pretrain.seed", "pretrain.seed"),
            ("loss", "loss"),
            ("teacher/image_to_text_R@1", RECALL),
            ("mask", "loss.mask"),
        ],
    )
    def test_an_end_is_enough(self, text: str, key: str) -> None:
        assert means(text) == key

    def test_what_several_end_in_is_refused_with_all_of_them(self) -> None:
        with pytest.raises(
            ValueError, match=r"seed: 2 keys end in that; say which: pretrain\.seed, data\.seed"
        ):
            means("seed")
        with pytest.raises(ValueError, match=r"R@1: 2 keys .*teacher/image_to_text_R@1"):
            means("R@1")

    def test_a_key_that_no_run_has_is_refused_with_those_near_it(self) -> None:
        with pytest.raises(ValueError, match=r"'momentun': no run has that; near it: pretrain\.momentum"):
            means("momentun")
        with pytest.raises(ValueError, match=r"near it: pretrain\.epochs"):
            means("pretrain.epoch")
        with pytest.raises(ValueError, match=r"no run has that; `cosmos runs show RUN` lists"):
            means("zzz")
        with pytest.raises(ValueError, match="'': no run has that"):
            means("")

    def test_the_end_of_a_word_is_no_end_of_a_key(self) -> None:
        with pytest.raises(ValueError, match="no run has that"):
            means("mentum")

    def test_what_is_not_known_of_a_run_is_not_in_its_row(self) -> None:
        there = run_row(RECORD)
        assert (there["status"], there["alive"], there["heartbeat"]) == ("running", True, 4.0)
        assert there.keys().isdisjoint({"group", "trial", "job", "problem"})
        assert "heartbeat" not in run_row(RunRecord("ema"))


def holds(text: str, of: RunRow = run_row(RECORD)) -> bool:  # noqa: B008 - never written
    (condition,) = parse_conditions([text], means)
    return condition.holds(of)


class TestConditions:
    @pytest.mark.parametrize(
        "text",
        [
            *("name=ema", "name==ema", "name != base", "name~em", "status=running", "alive=true"),
            *("alive=True", "momentum=0.960", "momentum<1", "momentum>=0.96", "momentum <= 96e-2"),
            *(
                "epochs=3.0",
                "epochs!=4",
                "tag=ema",
                "tag=first try",
                "tags~try",
                "tag!=second",
                "pooled=true",
            ),
            *("mask=none", "mask=null", "mask!=0.5", "started>=2026-07", "started<2026-08", "commit~c0f"),
            *("datasets=heldout,coco", "datasets~coco", "group!=sweep", "trial!=3", "loss<3"),
            *("heartbeat<10", "data.name=demo", "momentum~0.9"),
        ],
    )
    def test_those_that_hold(self, text: str) -> None:
        assert holds(text)

    @pytest.mark.parametrize(
        "text",
        [
            *("name=Ema", "name!=ema", "alive=false", "alive=1", "momentum=0.9", "momentum>0.96"),
            *("momentum=high", "tag=first", "tag!=ema", "tags~second", "pooled=1", "pooled>0", "mask<1"),
            *("mask=0", "started<2026-07", "name=", "alive=", "loss=nan"),
        ],
    )
    def test_those_that_do_not(self, text: str) -> None:
        assert not holds(text)

    @pytest.mark.parametrize("operator", ["=", "<", "<=", ">", ">=", "~"])
    def test_nothing_holds_of_a_run_without_the_key_but_that_it_is_not_so(self, operator: str) -> None:
        assert not holds(f"group{operator}a")
        assert not holds(f"loss{operator}1", of={"name": "young"})
        assert holds("loss!=1", of={"name": "young"})

    def test_what_is_no_condition_is_refused(self) -> None:
        for text in ("momentum", "", "=3", "~"):
            with pytest.raises(ValueError, match="not a condition; key=value"):
                holds(text)
        with pytest.raises(ValueError, match="'high' is no number"):
            holds("momentum<high")
        with pytest.raises(ValueError, match="tags have no order; =, != and ~ would do"):
            holds("tag<a")

    def test_a_value_that_came_apart_at_its_commas_is_put_together_again(self) -> None:
        parsed = parse_conditions(["datasets=heldout", "coco", "name=ema"], means)
        assert parsed == [Condition("evaluate.datasets", "=", "heldout,coco"), Condition("name", "=", "ema")]


class TestOrder:
    ROWS: tuple[RunRow, ...] = (
        {"name": "a", "x": 2},
        {"name": "b"},
        {"name": "c", "x": 1.5},
        {"name": "d", "x": 2},
    )

    def names(self, key: str, descending: bool) -> str:
        return "".join(str(row["name"]) for row in sort_rows(self.ROWS, key, descending))

    def test_runs_without_the_key_are_last_either_way_and_equal_ones_stay(self) -> None:
        assert self.names("x", descending=False) == "cadb"
        assert self.names("x", descending=True) == "adcb"
        assert self.names("name", descending=True) == "dcba"

    @given(
        st.lists(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.text()
            | st.just(("a",))
        )
    )
    def test_any_values_have_an_order_and_none_is_lost(self, values: list[Any]) -> None:
        ordered = sort_rows([{"x": value} for value in values], "x", descending=False)
        assert sorted(map(repr, values)) == sorted(repr(row["x"]) for row in ordered)
        numbers = [row["x"] for row in ordered if isinstance(row["x"], int | float)]
        assert numbers == sorted(numbers)
