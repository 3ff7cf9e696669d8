"""First batch of a dataset of 10,000 shards, and memory: ours and the straightforward implementation.

The straightforward one reads all indexes into a list of samples at the start, shuffles it, and decodes the
images of the first batch. Ours does all that `cosmos pretrain` does before, and makes views and ids. Time
is that of the processor, after imports. Memory is what grows from a tenth of the shards to all of them, per
million samples: of the process once it has its first batch, and of a forked worker that reads samples.

    python benchmarks/loading.py [--shards 10000] [--samples 100] [--json]
"""

import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rows import Row, benchmark_parser, measure_alone, print_rows

from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.image_decoding import decode_image
from cosmos.data.loader import make_loader
from cosmos.data.manifest import Manifest
from cosmos.data.readable import ReadableSamples, find_damaged_shards
from cosmos.data.sample import Sample
from cosmos.data.shards.index import index_path
from cosmos.data.shards.samples import ShardedSamples, write_shard
from cosmos.stages.pretrain_data import digest_of_whole_data
from cosmos.stages.run_opening import params_to_record, read_dataset_version

SHARDS_READ = 500
GOAL_SECONDS = 3.0


def write_dataset(folder: Path, num_shards: int, num_samples: int) -> None:
    """Write a dataset whose shards are links to one file."""
    folder.mkdir(parents=True)
    buffer = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((64, 48)).save(buffer, "JPEG")
    captions = {"captions": [f"a sentence of {number} words" for number in range(8)]}
    shard = write_shard(
        folder / "first.tar", [Sample(f"{i:06d}", buffer.getvalue(), captions) for i in range(num_samples)]
    )
    infos = [replace(shard, path=f"shard-{number:05d}.tar") for number in range(num_shards)]
    for info in infos:
        os.link(folder / "first.tar", folder / info.path)
        os.link(index_path(folder, "first.tar"), index_path(folder, info.path))
    Manifest("captions", tuple(infos), (), {}).write(folder)


def memory() -> int:
    """Return the bytes of memory that this process alone has."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def memory_of_worker(read: Callable[[], object]) -> int:
    """Return the growth of a forked process's own memory while it reads."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        before = memory()
        read()
        os.write(writer, str(memory() - before).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reader, 100))


def ours(machine: Machine, params: Params) -> Callable[[], object]:
    """Read the first batch as `cosmos pretrain` does, with all that it checks before."""
    read_dataset_version(params, machine)
    params_to_record(params, machine)
    samples = ShardedSamples(machine.dataset("large", "train"), machine)
    data = ReadableSamples.of(samples, find_damaged_shards(samples, params), params)
    digest_of_whole_data(data)
    next(make_loader(data, params, machine, 0, 1, 0, 1))
    places = np.linspace(0, len(samples) - 1, SHARDS_READ).astype(int)
    return lambda: [samples.read(int(place)) for place in places]


def straightforward(machine: Machine, params: Params) -> Callable[[], object]:
    folder = machine.dataset("large", "train")
    listed: list[tuple[Any, ...]] = []
    for shard in json.loads((folder / "manifest.json").read_text())["shards"]:
        with np.load(index_path(folder, shard["path"])) as index:
            spans, keys = index["spans"].tolist(), index["keys"].tolist()
        listed += [(shard["path"], key, *span) for key, span in zip(keys, spans, strict=True)]
    order = list(range(len(listed)))
    random.Random(0).shuffle(order)

    def read(number: int) -> tuple[bytes, Any]:
        path, _, image_offset, image_size, offset, size = listed[number]
        with (folder / path).open("rb") as file:
            file.seek(image_offset)
            image = file.read(image_size)
            file.seek(offset)
            return image, json.loads(file.read(size))

    for number in order[: params.pretrain.batch_size]:
        decode_image(read(number)[0], params.data.max_pixels).load()
    return lambda: [read(order[place]) for place in range(SHARDS_READ)] + [len(item) for item in listed]


def measure(kind: str, root: Path) -> dict[str, float]:
    """Return the seconds to the first batch, and the memory of the process and of a worker, in bytes."""
    machine = Machine(data_root=root, workers=0, device="cpu")
    params = Params.model_validate({"data": {"name": "large"}})
    import open_clip  # noqa: F401

    before, start = memory(), time.process_time()
    read = (ours if kind == "ours" else straightforward)(machine, params)
    seconds = time.process_time() - start
    return {"seconds": seconds, "process": memory() - before, "worker": memory_of_worker(read)}


def compare(num_shards: int, num_samples: int) -> list[Row]:
    """Return the rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small", Path(folder) / "large"
        write_dataset(small / "large" / "train", num_shards // 10, num_samples)
        write_dataset(large / "large" / "train", num_shards, num_samples)
        figures = {
            kind: [measure_alone(__file__, kind, root) for root in (small, large)]
            for kind in ("straightforward", "ours")
        }
    millions = (num_shards - num_shards // 10) * num_samples / 1e6
    seconds = {kind: two[1]["seconds"] for kind, two in figures.items()}
    rows = [
        Row(
            f"first batch of {num_shards:,} shards",
            "s of CPU after imports",
            **seconds,
            goal=GOAL_SECONDS / seconds["straightforward"],
        )
    ]
    for part, path in {"process": "training process", "worker": "loader worker"}.items():
        grown = {kind: (two[1][part] - two[0][part]) / millions / 1e6 for kind, two in figures.items()}
        rows.append(Row(f"memory of samples, {path}", "MB per million", **grown))
    return rows


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=100, help="of a shard")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "ROOT"), help="measure this one, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only[0], Path(arguments.only[1]))))
        return
    print_rows(compare(arguments.shards, arguments.samples), arguments.json)


if __name__ == "__main__":
    main()
