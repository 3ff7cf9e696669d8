"""Datasets: which ones the suites can measure, what each expects on disk, and whether it is there."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.errors import InputError
from cosmos.evaluation.card import DatasetCard
from cosmos.evaluation.suite import suites


@dataclass(frozen=True)
class DatasetListing:
    """A dataset, and how it stands on this machine."""

    suite: str
    name: str
    title: str
    layout: tuple[str, ...]
    size: str
    licence: str
    can_be_downloaded: bool
    present: bool
    """whether the suite can measure it"""
    complete: bool
    """whether it holds as many images as were published"""
    state: str
    """the same for people: what is there, or what is missing"""


def list_datasets(
    names: Sequence[str], params: Params, machine: Machine, download: bool = False, quiet: bool = False
) -> list[DatasetListing]:
    """Lists the datasets of these names, or all; `download` fetches those that are missing first.

    Raises ValueError for a name that there is none of, and for one that cannot be downloaded.
    """
    cards = choose_cards(names, params)
    if download:
        for card in cards:
            download_dataset(card, params, machine)
    listed = [inspect_dataset(card, params, machine) for card in cards]
    if not quiet:
        print_datasets(listed, bool(names), machine)
    return listed


def choose_cards(names: Sequence[str], params: Params) -> list[DatasetCard]:
    """The cards of these names, of all where there are none."""
    cards = [card for suite in suites(params.evaluate).values() for card in suite.cards.values()]
    unknown = sorted(set(names) - {card.name for card in cards})
    if unknown:
        known = ", ".join(dict.fromkeys(card.name for card in cards))
        raise InputError(f"no dataset {', '.join(unknown)}; there are {known}")
    return [card for card in cards if card.name in names or not names]


def download_dataset(card: DatasetCard, params: Params, machine: Machine) -> None:
    """Downloads a dataset that is not there."""
    if inspect_dataset(card, params, machine).present:
        return
    if card.download is None:
        raise InputError(
            f"{card.name}: cannot be downloaded by a program; put it below {machine.datasets_root}:"
            f" {', '.join(card.layout)}"
        )
    machine.datasets_root.mkdir(parents=True, exist_ok=True)
    try:
        card.download(machine.datasets_root)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{card.name}: the download failed ({error}); run the command again") from None


def inspect_dataset(card: DatasetCard, params: Params, machine: Machine) -> DatasetListing:
    """How a dataset stands on this machine."""
    try:
        num_images = card.open(params, machine).size["num_images"]
        present, complete = True, num_images >= card.num_images
        state = f"{num_images:,} images" + ("" if complete else f" of {card.num_images:,}")
    except (ValueError, OSError) as error:
        present, complete, state = False, False, str(error)
    return DatasetListing(
        suite=card.suite,
        name=card.name,
        title=card.title,
        layout=card.layout,
        size=card.size,
        licence=card.licence,
        can_be_downloaded=card.download is not None,
        present=present,
        complete=complete,
        state=state,
    )


def print_datasets(listed: Sequence[DatasetListing], in_detail: bool, machine: Machine) -> None:
    """Prints a table of all, or all that is known of some."""
    console = Console()
    if in_detail:
        for item in listed:
            console.print(Text(f"{item.suite}: {item.name}", "bold"), dataset_details(item), "")
        return
    console.print(datasets_table(listed))
    console.print(
        f"below {machine.datasets_root}; `cosmos datasets NAME` shows the layout of one", style="dim"
    )


def datasets_table(listed: Sequence[DatasetListing]) -> Table:
    """A row for each dataset, suite by suite."""
    rows = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("dataset", "here", "size", "licence"):
        rows.add_column(heading, overflow="fold")
    for suite, items in groupby(listed, key=lambda item: item.suite):
        rows.add_row(Text(suite, "bold"))
        for item in items:
            here = ("yes" if item.complete else "in part") if item.present else "no"
            style = "" if item.present else "dim"
            rows.add_row(Text(f"  {item.name}"), here, Text(item.size), Text(item.licence), style=style)
    return rows


def dataset_details(item: DatasetListing) -> Table:
    """All that is known of a dataset, a line for each thing."""
    lines = Table.grid(padding=(0, 2))
    for key, value in asdict(item).items():
        if key not in ("suite", "name"):
            text = "\n".join(value) if isinstance(value, tuple) else str(value)
            lines.add_row(f"  {key.replace('_', ' ')}", Text(text, overflow="fold"))
    return lines
