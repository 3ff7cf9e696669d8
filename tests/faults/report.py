"""Report of a campaign: the table, and each failure with the command that repeats it."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.campaign import Campaign

LONGEST_LINE = 1000
"""Characters of a line that are printed."""


def rows(campaign: Campaign) -> list[dict[str, int | str]]:
    """Return the outcome of each kind, as the table has it."""
    return [
        {
            "kind": kind,
            "tries": score.tries,
            "survived": score.survived,
            "failures": score.tries - score.survived,
        }
        for kind, score in sorted(campaign.scores.items())
    ]


def shorten(text: str) -> str:
    """Return a report with its long lines cut."""
    return "\n".join(
        line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..." for line in text.splitlines()
    )


def print_report(campaign: Campaign, file: Path | None) -> None:
    """Print failures, skipped tries and the table; write the table to a JSON file, too, if one is given."""
    for plan in campaign.failures:
        print(f"\n--- {plan.name}, kept in {campaign.folder / plan.name}")
        print(shorten((campaign.folder / f"{plan.name}.txt").read_text(errors="replace")))
    for kind, score in campaign.scores.items():
        if score.skipped:
            print(f"{kind}: {score.skipped} tries skipped: {'; '.join(sorted(score.reasons))}")
    table = Table("kind", "tries", "survived", "failures")
    for row in rows(campaign):
        table.add_row(*map(str, row.values()))
    total = [sum(int(row[key]) for row in rows(campaign)) for key in ("tries", "survived", "failures")]
    table.add_row("all", *map(str, total))
    Console(width=80).print(table)
    if file:
        file.write_text(json.dumps(rows(campaign), indent=2) + "\n")
