import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from cosmos.report.page import Fact, PagePicture, breakable, render_page, render_section
from cosmos.report.plotly import PlotlyFigure
from cosmos.report.provenance_section import RunOrigin, provenance_section
from cosmos.report.results_section import SuiteResults, results_section
from cosmos.report.section import ReportSection
from cosmos.report.tables import DatasetScores, score_tables

HOSTILE = "<script>alert(1)</script>\"'><img src=http://x.example/> {{ 7 * 7 }} \x1b[31m \u202eevil"
VOID = {"meta", "img", "br", "link"}


class Elements(HTMLParser):
    """The elements of a page, their attributes, and its visible words; checks that they are nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names, self.attributes, self.words = list[str](), list[tuple[str, str | None]](), list[str]()
        self.open = list[str]()
        self.feed(html.replace("<wbr>", ""))
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


def scripts(html: str, attributes: str = "") -> list[str]:
    return re.findall(rf"<script{attributes}>(.*?)</script>", html, re.DOTALL)


def without_scripts(html: str) -> str:
    return re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)


def page(*sections: ReportSection, title: str = "tiny", lead: tuple[str, ...] = ()) -> str:
    return render_page(title, lead, sections)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (2, 2), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_tables_say_what_those_in_the_terminal_say() -> None:
    one = DatasetScores(
        "cifar10", "last.pt", {"student": {"top1": 0.1}, "teacher": {"top1": 0.383}}, {}, {}, "half"
    )
    compared = DatasetScores("voc", "last.pt", {"teacher": {"top1": 0.4}}, {"top1": 0.01}, {"top1": 0.371})
    tables = score_tables("classification", [one, compared])
    words = Elements(results_section([SuiteResults("classification", tables, [])]).html).words
    for row in (["student", "10.0"], ["teacher", "38.3"], ["published", "37.1"], ["difference", "+2.9"]):
        assert any(words[i : i + 2] == row for i in range(len(words))), row
    assert words.index("cifar10") < words.index("voc")
    assert {"last.pt", "top-1", "mean per class", "cifar10: half", "chance"} <= set(words)
    assert "Nothing was measured." in results_section([SuiteResults("x", [], [])]).html


def test_pictures_are_a_part_of_the_page(picture: Path) -> None:
    section = results_section([SuiteResults("x", [], [], [PagePicture("answers", picture)])])
    (source,) = Elements(page(section)).values("src")
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == picture.read_bytes()


def test_facts_stand_beside_what_they_are_about() -> None:
    origin = RunOrigin([Fact("device", "cuda:0")], [Fact("pretrain.epochs", "3 -> 5")])
    words = Elements(page(provenance_section(origin), lead=("About: a test",))).words
    assert words[words.index("pretrain.epochs") + 1] == "3 -> 5"
    assert words[words.index("device") + 1] == "cuda:0"
    assert "About: a test" in words
    assert "None: all are the defaults." in Elements(provenance_section(RunOrigin([], [])).html).words


def test_the_page_needs_no_network_and_runs_its_own_scripts_alone(picture: Path) -> None:
    plot = PlotlyFigure("loss", {"data": [{"name": "</script><script>alert(1)</script>"}], "layout": {}})
    curves = render_section("a", "A", "curves.html", headlines=[plot], others=[], otherwise="")
    html = page(curves, results_section([SuiteResults("x", [], [], [PagePicture("a", picture)])]))
    elements = Elements(html)
    assert not {"link", "iframe", "base", "form"} & set(elements.names)
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", without_scripts(html))
    policy = next(value for value in elements.values("content") if "script-src" in value)
    plain = scripts(html)
    assert len(plain) == 2
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in plain}
    assert hashes == set(re.findall(r"'sha256-([^']+)'", policy))
    assert policy.startswith("default-src 'none'")
    assert "connect-src" not in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_a_page_without_plots_has_no_library_for_them() -> None:
    html = page(render_section("a", "A", "curves.html", headlines=[], others=[], otherwise="none"))
    assert len(scripts(html)) == 1
    assert len(html) < 50_000


def test_strangers_names_are_shown_and_never_read_as_markup(picture: Path) -> None:
    hostile = DatasetScores(HOSTILE, HOSTILE, {HOSTILE: {HOSTILE.replace("/", ""): 0.5}}, {}, {}, HOSTILE)
    facts = [Fact(HOSTILE, HOSTILE)]
    results = SuiteResults(HOSTILE, score_tables("x", [hostile]), facts, [PagePicture(HOSTILE, picture)])
    origin = RunOrigin(facts, facts, HOSTILE, [HOSTILE], {HOSTILE: HOSTILE})
    sections = results_section([results]), provenance_section(origin)
    html = without_scripts(page(*sections, title=HOSTILE, lead=(HOSTILE,)))
    elements = Elements(html)
    assert "script" not in elements.names
    assert elements.names.count("img") == 1
    assert not {"\x1b", "\u202e"} & set(html)
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert elements.words.count(shown) >= 10
    assert elements.values("alt") == [shown]


def test_names_break_after_their_signs_and_are_escaped() -> None:
    assert breakable("a/b_c.d&<e>_") == "a/<wbr>b_<wbr>c.<wbr>d&amp;&lt;e&gt;_"


def test_the_same_parts_are_the_same_page(picture: Path) -> None:
    section = results_section([SuiteResults("x", [], [], [PagePicture("a", picture)])])
    assert page(section) == page(section)
