import base64
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cosmos.report.curves import LossChart
from cosmos.report.page import Fact, PagePicture, ReportPage, SuiteSection, render_report
from cosmos.report.tables import DatasetScores, score_tables

HOSTILE = "<script>alert(1)</script>\"'><img src=http://x.example/> {{ 7 * 7 }} \x1b[31m \u202eevil"
VOID = {"meta", "img", "br", "link"}


class Elements(HTMLParser):
    """The elements of a page, their attributes, and its visible words; checks that they are nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names, self.attributes, self.words = list[str](), list[tuple[str, str | None]](), list[str]()
        self.open = list[str]()
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        self.open += [tag] if tag not in VOID else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())

    def values(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


def page(**parts: Any) -> ReportPage:
    nothing = {"about": [], "suites": [], "training": "3 steps", "charts": [], "parameters": []}
    return ReportPage(**{"title": "tiny", **nothing, "provenance": [], "previews": [], **parts})


def results(
    measured: Sequence[DatasetScores], pictures: Sequence[PagePicture] = (), name: str = "x"
) -> SuiteSection:
    return SuiteSection(name, score_tables(name, measured), [], pictures)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (2, 2), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_tables_say_what_those_in_the_terminal_say() -> None:
    one = DatasetScores(
        "cifar10", "last.pt", {"student": {"top1": 0.1}, "teacher": {"top1": 0.383}}, {}, {}, "half"
    )
    compared = DatasetScores("voc", "last.pt", {"teacher": {"top1": 0.4}}, {"top1": 0.01}, {"top1": 0.371})
    words = Elements(render_report(page(suites=[results([one, compared], name="classification")]))).words
    for row in (["student", "10.0"], ["teacher", "38.3"], ["published", "37.1"], ["difference", "+2.9"]):
        assert any(words[i : i + 2] == row for i in range(len(words))), row
    assert words.index("cifar10") < words.index("voc")
    assert {"last.pt", "top-1", "mean per class", "cifar10: half", "chance"} <= set(words)


def test_pictures_are_a_part_of_the_page(picture: Path) -> None:
    made = page(
        suites=[results([], [PagePicture("answers", picture)])], previews=[PagePicture("samples", picture)]
    )
    sources = Elements(render_report(made)).values("src")
    assert len(sources) == 2
    for source in sources:
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == picture.read_bytes()


def test_drawings_are_a_part_of_the_page() -> None:
    html = render_report(
        page(charts=[LossChart("Loss & more", '<svg viewBox="0 0 1 1"><path d="M 0 0"/></svg>')])
    )
    assert '<svg viewBox="0 0 1 1"><path d="M 0 0"/></svg>' in html
    assert "Loss &amp; more" in html


def test_facts_stand_beside_what_they_are_about() -> None:
    made = page(
        about=[Fact("About", "a test")],
        parameters=[Fact("pretrain.epochs", "3 -> 5")],
        provenance=[Fact("device", "cuda:0")],
    )
    words = Elements(render_report(made)).words
    assert words[words.index("pretrain.epochs") + 1] == "3 -> 5"
    assert words[words.index("device") + 1] == "cuda:0"
    assert "About: a test" in words
    assert "None: all are the defaults." in Elements(render_report(page())).words


def test_the_page_needs_no_network_and_no_script(picture: Path) -> None:
    html = render_report(page(previews=[PagePicture("samples", picture)]))
    elements = Elements(html)
    assert not {"script", "link", "iframe", "base", "form"} & set(elements.names)
    assert not re.search(r"""(src|href)=["'](?!data:)""", html)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in elements.values("content")


def test_strangers_names_are_shown_and_never_read_as_markup(picture: Path) -> None:
    hostile = DatasetScores(HOSTILE, HOSTILE, {HOSTILE: {HOSTILE.replace("/", ""): 0.5}}, {}, {}, HOSTILE)
    parts: dict[str, Any] = {
        "title": HOSTILE,
        "training": HOSTILE,
        "previews": [PagePicture(HOSTILE, picture)],
        "suites": [
            SuiteSection(
                HOSTILE,
                score_tables("x", [hostile]),
                [Fact(HOSTILE, HOSTILE)],
                [PagePicture(HOSTILE, picture)],
            )
        ],
        **{name: [Fact(HOSTILE, HOSTILE)] for name in ("about", "parameters", "provenance")},
    }
    html = render_report(page(**parts))
    elements = Elements(html)
    assert "script" not in elements.names
    assert elements.names.count("img") == 2
    assert not {"\x1b", "\u202e"} & set(html)
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert elements.words.count(shown) >= 10
    assert elements.values("alt") == [shown, shown]


def test_the_same_page_is_the_same_text(picture: Path) -> None:
    made = page(previews=[PagePicture("samples", picture)], suites=[results([], name="retrieval")])
    assert render_report(made) == render_report(made)
    assert "Nothing was measured." in render_report(made)
