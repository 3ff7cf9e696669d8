import io

import pytest
from rich.table import Table

from cosmos.report.terminal import Terminal, plain_text
from tests.hostile_texts import HOSTILE_TEXTS


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range(len(HOSTILE_TEXTS)))
def test_texts_and_cells_are_shown_literally(text: str) -> None:
    terminal = Terminal()
    terminal.file = io.StringIO()
    terminal.width = 20_000
    table = Table("name", text)
    table.add_row(text, plain_text(text, "bold"))
    terminal.print(text)
    terminal.print(table)
    shown = terminal.file.getvalue()
    assert shown.replace("\n", "").isprintable()
    if text.isprintable():
        assert shown.count(text) == 4
