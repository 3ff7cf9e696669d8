"""Growth of a rank's time, memory and traffic over 1 to 1,024 ranks, each with 32 samples (docs/scale.md).

Each number of ranks is measured in a process of its own, as the last of so many ranks, by torch's fake
process group. Times are of the processor, with one thread. In the rows, `straightforward` is a way that
takes from every other rank what it needs, and `ours` is what is done, at the largest number of ranks. Four
processes of gloo have the loss of one and exchange the bytes that are stated, and so does a step of a whole
ViT-B/16 on the first, a middle and the last of 128 ranks: both are checked.

    python benchmarks/scale.py [--ranks 1 8 32 128 1024] [--page docs/scale.md] [--plot docs/scale.svg]
"""

import json
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from loading import memory, write_dataset
from loss import ours as compute_loss
from loss import random_views
from rows import Row, benchmark_parser, measure_alone, peak_megabytes, print_rows
from torch.multiprocessing.spawn import start_processes

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.loader import make_loader
from cosmos.data.readable import ReadableSamples, find_damaged_shards
from cosmos.data.shards.samples import ShardedSamples
from cosmos.distributed.exchange import gather_rows, mean_over_ranks, on_every_rank, on_first_rank
from cosmos.model.cosmos import StudentViews, TeacherViews
from cosmos.plan.dimensions import ModelDimensions
from cosmos.plan.many_ranks import CollectiveCall, CollectiveRecorder, fake_ranks, record_step
from cosmos.plan.traffic import AGREED_NUMBERS, FLOAT_BYTES, Exchange, column_sums, step_exchanges
from cosmos.run.provenance import record_session
from cosmos.stages.run_opening import read_dataset_version

SAMPLES_PER_RANK = 32
RANKS_PER_NODE = 4
VIEWS, WIDTH = 8, 512
SHARDS, SAMPLES_PER_SHARD = 10_000, 100
PLACE = re.compile(r"(<!-- growth -->\n).*?(<!-- end of growth -->)", re.DOTALL)

FIGURES = {
    "loss and its gradients, s": "loss seconds",
    "memory of the loss, MB": "loss megabytes",
    "sent: embeddings, MB": "embeddings",
    "sent: gradients of embeddings, MB": "gradients of embeddings",
    "sent: sums of the logits' columns, MB": "sums",
    "sent: gradients of weights, MB": "gradients of weights",
    "exchanges of the loss": "calls",
    "samples of a step, ms": "order",
    "agreement at a step's end, ms": "agreement",
    "value of the first rank for all, ms": "first",
    "error of any rank for all, ms": "every",
    "manifest and shards, 10,000, s": "shards",
    "memory of manifest and order, MB": "shards megabytes",
    "first batch of the loader, s": "loader",
    "record of a session, kB": "session",
    "written by the first rank at a save, GB": "checkpoint",
    "read by all ranks at a resume, GB": "resume",
}
"""Figures of the page by their names there."""


def published(num_ranks: int) -> Params:
    """Return the parameters of a published ViT-B/16 at 32 samples on each rank."""
    views = {"image_size": 224, "local_size": 96, "num_local_crops": 6, "num_captions": VIEWS}
    return Params.model_validate(
        {
            "data": {"name": "large"},
            "model": {"architecture": "ViT-B-16"},
            "views": views,
            "pretrain": {"batch_size": SAMPLES_PER_RANK * num_ranks, "precision": "bf16"},
        }
    )


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Return the CPU seconds of a call, the least of several."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


def measure_loss(figures: dict[str, float]) -> None:
    """Measure the loss of this rank's views against those of all ranks."""
    torch.autograd.backward(compute_loss(*random_views(2, 16, WIDTH)))  # warms up kernels
    student, teacher = random_views(VIEWS, SAMPLES_PER_RANK, WIDTH)
    Path("/proc/self/clear_refs").write_text("5")  # its peak so far is forgotten: that of the imports
    before = peak_megabytes()
    with CollectiveRecorder() as recorder:
        figures["loss seconds"] = seconds(lambda: torch.autograd.backward(compute_loss(student, teacher)))
    figures["loss megabytes"] = peak_megabytes() - before
    figures["calls"] = len(recorder.calls)
    figures["bytes"] = sum(call.num_bytes for call in recorder.calls)


def measure_exchanges(figures: dict[str, float]) -> None:
    """Measure what the first rank does about small values of all ranks, in milliseconds."""
    row = torch.zeros(1, AGREED_NUMBERS)
    calls: dict[str, Callable[[], object]] = {
        "agreement": lambda: gather_rows(row).T.tolist(),
        "first": lambda: on_first_rank(lambda: None),
        "every": lambda: on_every_rank(lambda: None),
    }
    figures.update({name: 1e3 * seconds(call, 5) for name, call in calls.items()})


def measure_start(num_ranks: int, root: Path, figures: dict[str, float]) -> None:
    """Measure the start of a rank on a dataset of 10,000 shards: shards, order, first batch, provenance."""
    params, machine = published(num_ranks), Machine(data_root=root, workers=0, device="cpu")
    params = params.model_copy(update={"views": Params().views, "model": Params().model})
    opened: list[ReadableSamples] = []

    def open_shards() -> None:
        samples = ShardedSamples(machine.dataset("large", "train"), machine)
        opened.append(ReadableSamples.of(samples, find_damaged_shards(samples, params), params))

    before = memory()
    figures["shards"] = seconds(open_shards)
    figures["shards megabytes"] = (memory() - before) / 1e6
    (data,), rank = opened, num_ranks - 1
    figures["order"] = 1e3 * seconds(lambda: data.order.part(7, rank, num_ranks))
    figures["whole order"] = 1e3 * seconds(lambda: data.order.batch(7))
    figures["loader"] = seconds(lambda: next(make_loader(data, params, machine, rank, num_ranks, 0, 1)))
    figures["session"] = session_bytes(num_ranks, root, machine) / 1e3


def session_bytes(num_ranks: int, root: Path, machine: Machine) -> int:
    """Return the bytes that a session adds to a run's provenance."""
    nodes = [f"node{number:04d}" for number in range(-(-num_ranks // RANKS_PER_NODE))]
    os.environ["COSMOS_JOB"] = json.dumps({"cluster": "slurm", "id": "1", "requeues": 0, "nodes": nodes})
    path, dataset = root / f"provenance-{num_ranks}.json", read_dataset_version(published(1), machine)
    sizes = []
    for _ in range(2):
        record_session(path, dataset, {}, {"device": "cuda:0", "ranks": num_ranks})
        sizes.append(path.stat().st_size)
    return sizes[1] - sizes[0]


def measure(num_ranks: int, root: Path) -> dict[str, float]:
    """Return all figures of the last of so many ranks."""
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    with fake_ranks(num_ranks - 1, num_ranks):
        measure_loss(figures)
    with fake_ranks(0, num_ranks):
        measure_exchanges(figures)
    measure_start(num_ranks, root, figures)
    checkpoint = checkpoint_gigabytes()
    return figures | sent_megabytes(num_ranks) | {"checkpoint": checkpoint, "resume": num_ranks * checkpoint}


def sent_megabytes(num_ranks: int) -> dict[str, float]:
    """Return the megabytes that a rank sends in a step of a ViT-B/16, by what they are."""
    params = published(num_ranks)
    dimensions = ModelDimensions.of(params)
    sent = defaultdict[str, float](float)
    for exchange in step_exchanges(params, num_ranks, dimensions.embed_dim, dimensions.num_trained):
        name = exchange.name.partition(" of ")[0] if "embeddings of" in exchange.name else exchange.name
        name = "sums" if name.startswith("sums") else name
        sent[name] += exchange.bytes_sent(num_ranks) / 1e6
    names = ("embeddings", "gradients of embeddings", "sums", "gradients of weights")
    return {name: sent[name] for name in names} | {"gathered columns": gathered_columns(num_ranks) / 1e6}


def gathered_columns(num_ranks: int) -> float:
    """Return the bytes that a rank would send if all ranks' sums of columns were gathered."""
    pairs, _ = column_sums(published(num_ranks), num_ranks)
    values = pairs * SAMPLES_PER_RANK * num_ranks * num_ranks
    return Exchange("", "all_gather", FLOAT_BYTES * values).bytes_sent(num_ranks)


def checkpoint_gigabytes() -> float:
    """Return the size of a checkpoint: student, teacher and two moments of each trained parameter."""
    dimensions = ModelDimensions.of(published(1))
    return FLOAT_BYTES * 2 * (dimensions.num_parameters + dimensions.num_trained) / 1e9


def compare(figures: dict[int, dict[str, float]]) -> list[Row]:
    """Return the rows of the table, at the largest number of ranks."""
    most = max(figures)
    last, where = figures[most], f"{most:,} ranks"
    fewer = min(count for count in figures if count >= 8)
    linear = most / fewer
    return [
        Row(f"{where}: sums of columns", "MB sent", last["gathered columns"], last["sums"], 0.1),
        Row(f"{where}: value of the first rank", "ms of CPU", last["every"], last["first"], 0.2),
        Row(f"{where}: samples of a step", "ms of CPU", last["whole order"], last["order"], 0.2),
        Row(
            f"{where}: loss, beside {fewer} ranks' times {linear:g}",
            "s of CPU",
            figures[fewer]["loss seconds"] * linear,
            last["loss seconds"],
            1.2,
        ),
    ]


def growth_table(figures: dict[int, dict[str, float]]) -> str:
    """Return the figures as a table of a page, with a column for each number of ranks."""
    counts = sorted(figures)
    lines = [["of a rank, among", *(f"{count:,}" for count in counts)], ["---", *["---:"] * len(counts)]]
    lines += [
        [text, *(format(figures[count][key], ",.3g") for count in counts)] for text, key in FIGURES.items()
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def fill_growth(page: Path, table: str) -> None:
    page.write_text(PLACE.sub(lambda place: place[1] + table + place[2], page.read_text()))


def draw_growth(path: Path, figures: dict[int, dict[str, float]]) -> None:
    """Draw what a rank sends in a step, and its times, over the number of ranks."""
    from matplotlib import pyplot, rcParams

    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "cosmos", "font.size": 9})
    counts = sorted(count for count in figures if count > 1)
    plot, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    sent = {
        "gradients of weights": "gradients of weights",
        "embeddings": "embeddings",
        "gradients of embeddings": "gradients of embeddings",
        "sums of columns": "sums",
        "sums of columns, if gathered": "gathered columns",
    }
    times = {
        "loss": ("loss seconds", 1),
        "start on 10,000 shards": ("shards", 1),
        "samples of a step": ("order", 1e-3),
        "value of the first rank": ("first", 1e-3),
        "the same, gathered": ("every", 1e-3),
    }
    for text, key in sent.items():
        style = "--" if "if" in text else "-o"
        left.loglog(counts, [figures[count][key] for count in counts], style, label=text, markersize=3)
    for text, (key, unit) in times.items():
        style = "--" if "gathered" in text else "-o"
        right.loglog(
            counts, [unit * figures[count][key] for count in counts], style, label=text, markersize=3
        )
    for axes, title in ((left, "MB sent by a rank in a step"), (right, "seconds of a rank's processor")):
        axes.set(title=title, xlabel="ranks, with 32 samples each")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.legend(fontsize=7)
    plot.savefig(path, metadata={"Date": None})


def check_rank(rank: int, num_ranks: int, place: str, whole_loss: float) -> None:
    """Check the loss and the exchanges of one of several processes."""
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=num_ranks)
    student, teacher = random_views(VIEWS, SAMPLES_PER_RANK * num_ranks, WIDTH)
    rows = slice(rank * SAMPLES_PER_RANK, (rank + 1) * SAMPLES_PER_RANK)
    mine = [view.detach()[:, rows] if view.ndim else view.detach() for view in student.tensors()]
    taught = TeacherViews(teacher.image[:, rows], teacher.text[:, rows])
    recorder = CollectiveRecorder()
    with recorder:
        loss = compute_loss(StudentViews(*(tensor.requires_grad_() for tensor in mine)), taught)
        torch.autograd.backward(loss)
    mean = float(mean_over_ranks(loss.detach()))
    if abs(mean - whole_loss) > 1e-4 * whole_loss:
        sys.exit(f"{num_ranks} processes have the loss {mean}, one has {whole_loss}")
    exchanges = step_exchanges(published(num_ranks), num_ranks, WIDTH, 0)
    compare_bytes(num_ranks, [item for item in exchanges if item.name != "agreement"], recorder.calls)
    dist.destroy_process_group()


def compare_bytes(num_ranks: int, stated: Sequence[Exchange], calls: Sequence[CollectiveCall]) -> None:
    """End the benchmark where other bytes were exchanged than are stated."""
    expected, exchanged = (sum(item.num_bytes for item in items) for items in (stated, calls))
    if expected != exchanged:
        sys.exit(
            f"among {num_ranks} ranks {exchanged} bytes are exchanged, not the {expected} that are stated"
        )


def check_published_step(num_ranks: int = 128) -> None:
    """Check the exchanges of a step of a whole ViT-B/16, of the first, a middle and the last rank."""
    params = published(num_ranks)
    dimensions = ModelDimensions.of(params)
    stated = step_exchanges(params, num_ranks, dimensions.embed_dim, dimensions.num_trained)
    for rank in (0, num_ranks // 2, num_ranks - 1):
        compare_bytes(num_ranks, stated, record_step(params, Machine(), rank, num_ranks))


def check_processes(num_ranks: int = 4) -> None:
    """Check loss and exchanges of as many processes against those of one."""
    torch.set_num_threads(1)
    whole = float(compute_loss(*random_views(VIEWS, SAMPLES_PER_RANK * num_ranks, WIDTH)).detach())
    with tempfile.TemporaryDirectory() as folder:
        arguments = (num_ranks, str(Path(folder, "meeting")), whole)
        start_processes(check_rank, arguments, nprocs=num_ranks, start_method="spawn")  # type: ignore[no-untyped-call]


def collect(ranks: Sequence[int]) -> dict[int, dict[str, float]]:
    """Return the figures of each number of ranks."""
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder, "large", "train"), SHARDS, SAMPLES_PER_SHARD)
        return {count: measure_alone(__file__, count, folder) for count in ranks}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 8, 32, 128, 1024])
    parser.add_argument("--page", type=Path, help="write the table of growth into this page")
    parser.add_argument("--plot", type=Path, help="draw it into this file")
    parser.add_argument("--only", nargs=2, metavar=("RANKS", "ROOT"), help="measure these, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(int(arguments.only[0]), Path(arguments.only[1]))))
        return
    check_processes()
    check_published_step()
    figures: dict[int, dict[str, Any]] = collect(arguments.ranks)
    if arguments.page:
        fill_growth(arguments.page, growth_table(figures))
    if arguments.plot:
        draw_growth(arguments.plot, figures)
    print_rows(compare(figures), arguments.json)


if __name__ == "__main__":
    main()
