"""List of the datasets that suites can measure: what each expects on disk, and whether it is there."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from rich import box
from rich.table import Table

from cosmos.config.machine import Machine
from cosmos.config.near_names import near_names
from cosmos.config.params import Params
from cosmos.errors import CosmosError, InputError
from cosmos.evaluation.card import DatasetCard
from cosmos.evaluation.dataset_files import is_transient
from cosmos.evaluation.suite import suites
from cosmos.report.terminal import Terminal, plain_text
from cosmos.stages.dataset_download import download_dataset


@dataclass(frozen=True)
class DatasetListing:
    """Dataset of a suite, and its state on this machine."""

    suite: str
    name: str
    title: str
    layout: tuple[str, ...]
    size: str
    licence: str
    can_be_downloaded: bool
    present: bool
    """True when its files are there, by their names: none of them was opened"""
    complete: bool
    """True when its folders hold as many images as were published, or more"""
    unknown: bool
    """True when a disk or the network failed, so that the dataset may be there all the same"""
    state: str
    """number of images as far as it is recorded, or what is missing, for people"""


def list_datasets(
    names: Sequence[str], params: Params, machine: Machine, download: bool = False, quiet: bool = False
) -> list[DatasetListing]:
    """List the datasets of these names, or all, by the names of their files: no image or shard is opened.

    `download` fetches those that are missing first, or not whole.

    Raises InputError for an unknown name and for one that cannot be downloaded, TransientError where a
    download, or the disk before it, fails.
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
    """Return the cards of these names; of all datasets where there are no names."""
    cards = [card for suite in suites(params.evaluate).values() for card in suite.cards.values()]
    unknown = sorted(set(names) - {card.name for card in cards})
    if unknown:
        near = near_names(unknown[0], dict.fromkeys(card.name for card in cards))
        raise InputError(f"no dataset {', '.join(unknown)}; {near}")
    return [card for card in cards if card.name in names or not names]


def inspect_dataset(card: DatasetCard, params: Params, machine: Machine) -> DatasetListing:
    """Return the state of a dataset on this machine, by the names of its files."""
    try:
        presence = card.find(params, machine)
        present, complete, unknown, state = True, presence.is_complete, False, presence.state
    except (CosmosError, OSError) as error:
        present, complete, unknown, state = False, False, is_transient(error), str(error)
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
        unknown=unknown,
        state=state,
    )


def print_datasets(listed: Sequence[DatasetListing], in_detail: bool, machine: Machine) -> None:
    """Print a table of datasets or, in detail, all fields of each."""
    console = Terminal()
    if in_detail:
        for item in listed:
            console.print(plain_text(f"{item.suite}: {item.name}", "bold"), dataset_details(item), "")
        return
    console.print_table(datasets_table(listed), kept=2)
    console.print(
        f"below {machine.datasets_root}; `cosmos datasets NAME` shows the layout of one", style="dim"
    )


def datasets_table(listed: Sequence[DatasetListing]) -> Table:
    """Return a table with a row for each dataset, suite by suite."""
    rows = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    rows.add_column("dataset")
    rows.add_column("here")
    rows.add_column("size", overflow="fold")
    rows.add_column("licence", overflow="fold")
    for suite, items in groupby(listed, key=lambda item: item.suite):
        rows.add_row(plain_text(suite, "bold"))
        for item in items:
            cells = (
                plain_text(f"  {item.name}"),
                describe_presence(item),
                plain_text(item.size),
                plain_text(item.licence),
            )
            rows.add_row(*cells, style="" if item.present else "dim")
    return rows


def describe_presence(item: DatasetListing) -> str:
    """Return `yes`, `in part`, `no` or `unknown`, for the column of what is on this machine."""
    if item.present:
        return "yes" if item.complete else "in part"
    return "unknown" if item.unknown else "no"


def dataset_details(item: DatasetListing) -> Table:
    """Return a table with a line for each field of a listing."""
    lines = Table.grid(padding=(0, 2))
    for key, value in asdict(item).items():
        if key not in ("suite", "name"):
            text = "\n".join(value) if isinstance(value, tuple) else str(value)
            lines.add_row(f"  {key.replace('_', ' ')}", plain_text(text, overflow="fold"))
    return lines
