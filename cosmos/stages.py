"""The stages that commands and pipelines run: the only place where the parts of the library meet."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from cosmos import provenance
from cosmos.data.loader import make_loader, sample_order
from cosmos.data.manifest import MANIFEST_FILE, Manifest
from cosmos.data.prepare import prepare as prepare_data
from cosmos.data.sample import DamagedSampleError
from cosmos.data.shards import ShardedSamples
from cosmos.distributed import Ranks, barrier, pick_device, process_group
from cosmos.evaluation.embed import Encoder
from cosmos.evaluation.suite import SUITES
from cosmos.files import replacing, write_json, write_text
from cosmos.machine import Machine
from cosmos.model import checkpoints
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.cosmos import Cosmos
from cosmos.model.encoders import CosmosEncoder, encoder_of, open_clip_baseline
from cosmos.params import Params
from cosmos.report.contact_sheet import contact_sheet
from cosmos.report.tables import results_markdown, results_table
from cosmos.rundir import RunDir, open_run
from cosmos.training.checkpoint import newest_first
from cosmos.training.step import Learner
from cosmos.training.trainer import Evaluate, Plan, Trainer

logger = logging.getLogger(__name__)

NUM_PREVIEWED = 24


def prepare(params: Params, machine: Machine, quiet: bool = False) -> dict[str, Any]:
    """Shards, manifests and a picture of some samples; returns what is where."""
    manifests = prepare_data(params.data, machine)
    summary = {split: describe(machine.dataset(params.data.name, split), m) for split, m in manifests.items()}
    preview = machine.data_root / params.data.name / "preview.png"
    if not preview.exists():
        draw_preview(ShardedSamples(machine.dataset(params.data.name, "train"), machine), preview)
    if not quiet:
        for split, found in summary.items():
            print(
                f"{split}: {found['num_samples']} samples in {found['num_shards']} shards, "
                f"{found['num_skipped']} inputs skipped; {found['manifest']}"
            )
        if preview.exists():
            print(f"a look at some of them: {preview}")
    return {**summary, "preview": str(preview)}


def draw_preview(samples: ShardedSamples, preview: Path) -> None:
    """A picture of the first samples. What keeps one from being shown is told, and is no failure."""
    try:
        sheet = contact_sheet([samples.read(i) for i in range(min(NUM_PREVIEWED, len(samples)))])
    except DamagedSampleError as error:
        logger.warning("no preview: %s", error)
        return
    with replacing(preview) as temporary:
        sheet.save(temporary, "PNG")


def describe(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """The figures of a split that people ask for first."""
    return {
        "manifest": str(folder / MANIFEST_FILE),
        "num_samples": manifest.num_samples,
        "num_shards": len(manifest.shards),
        "num_skipped": len(manifest.skipped),
    }


def pretrain(params: Params, machine: Machine, path: Path, quiet: bool = False) -> dict[str, Any]:
    """Trains, from wherever the run at `path` stands, to the end; returns where the checkpoint is.

    Raises Interrupted when a signal asked to stop, FloatingPointError when the loss stays non-finite, and
    ValueError for data or parameters that do not fit.
    """
    if machine.threads:
        torch.set_num_threads(machine.threads)
    folder = machine.dataset(params.data.name, "train")
    samples = ShardedSamples(folder, machine)
    with process_group(machine.device) as ranks:
        run = open_run_together(path, params, ranks)
        order = sample_order(samples, params)
        plan = Plan(order.steps_per_epoch, order.steps_per_epoch * params.pretrain.epochs)
        learner = Learner(params, machine, ranks)
        with log_file(run, ranks):
            trainer = Trainer(run, params, machine, learner, plan, in_training(params, machine, ranks))
            say(f"{run.path}: step {trainer.step} of {plan.total_steps}", ranks, quiet)
            if trainer.step < plan.total_steps:
                if ranks.is_first:
                    provenance.record(run.provenance, {"train": folder / MANIFEST_FILE}, str(ranks.device))
                left = plan.total_steps - trainer.step
                batches = make_loader(
                    samples, params, machine, ranks.rank, ranks.world_size, trainer.step, left
                )
                with closing(batches):
                    trainer.train(batches)
            barrier()
        checkpoint = run.checkpoint(plan.total_steps)
        say(f"checkpoint: {checkpoint}\nmetrics: {run.metrics}", ranks, quiet)
        return {"run": str(run.path), "checkpoint": str(checkpoint), "steps": plan.total_steps}


def open_run_together(path: Path, params: Params, ranks: Ranks) -> RunDir:
    """The run directory, opened by the first rank before the others look."""
    if ranks.is_first:
        open_run(path, params)
    barrier()
    return RunDir(path)


def say(text: str, ranks: Ranks, quiet: bool) -> None:
    """Prints for a person, from the first rank."""
    if ranks.is_first and not quiet:
        print(text, flush=True)


@contextmanager
def log_file(run: RunDir, ranks: Ranks) -> Iterator[None]:
    """What is logged goes to the run's log as well."""
    if not ranks.is_first:
        yield
        return
    handler = logging.FileHandler(run.log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("cosmos").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("cosmos").removeHandler(handler)
        handler.close()


def in_training(params: Params, machine: Machine, ranks: Ranks) -> Evaluate:
    """Retrieval on the configured dataset, of the models as they are.

    The dataset is opened now, where it will be needed: what it lacks shows before the first step.
    """
    if not params.pretrain.evaluate_every_epochs:
        return lambda models: {}
    suite = SUITES["retrieval"](params, machine, True)

    def evaluate_now(models: dict[str, Cosmos]) -> dict[str, float]:
        figures: dict[str, float] = {}
        for name in params.evaluate.models:
            model = models[name]
            training = model.training
            model.eval()
            encoder = CosmosEncoder(model, params.views.image_size, ranks.device)
            figures |= {f"{name}/{metric}": value for metric, value in suite.measure(encoder).items()}
            model.train(training)
        first = ", ".join(f"{name} {value:.1%}" for name, value in figures.items() if name.endswith("R@1"))
        logger.info("%s on %s: %s", suite.name, suite.dataset, first)
        return figures

    return evaluate_now


def evaluate(
    suite_name: str, params: Params, machine: Machine, run_path: Path, checkpoint: str, quiet: bool = False
) -> dict[str, Any]:
    """Measures a checkpoint (the run's newest where none is named) and writes results/<suite>.json.

    Raises ValueError for a dataset or a checkpoint that is missing or does not fit.
    """
    if machine.threads:
        torch.set_num_threads(machine.threads)
    run = RunDir(run_path)
    name = checkpoint or newest(run)
    suite = SUITES[suite_name](params, machine, quiet)
    source = retrieval_source(params, machine)
    device = pick_device(machine.device)
    models = {which: suite.measure(encoder) for which, encoder in encoders(name, params, machine, device)}
    result = {
        "suite": suite_name,
        "dataset": suite.dataset,
        **suite.size,
        "chance": suite.chance,
        "data": {str(source): provenance.sha256(source)},
        "checkpoint": name,
        "code_version": provenance.code_version(),
        "models": models,
    }
    target = (
        run.result(suite_name)
        if not checkpoint
        else run_path / "results" / f"{suite_name}-{label(name)}.json"
    )
    write_json(target, result)
    title = f"{suite.name} on {suite.dataset}: {name}"
    write_text(target.with_suffix(".md"), results_markdown(title, models, suite.chance))
    if not quiet:
        Console().print(results_table(title, models, suite.chance))
        print(f"results: {target}")
    return result


def retrieval_source(params: Params, machine: Machine) -> Path:
    """The file that says what the dataset holds: the manifest of shards, or the captions file."""
    retrieval = params.evaluate.retrieval
    if retrieval.layout == "shards":
        return machine.dataset(params.data.name, retrieval.split) / MANIFEST_FILE
    return machine.source(retrieval.annotations)


def label(checkpoint: str) -> str:
    """A checkpoint's name, fit for a file's name."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in checkpoint.strip("/"))[-80:].strip("-.")


def newest(run: RunDir) -> str:
    """The newest checkpoint of a run. ValueError says what makes one."""
    found = newest_first(run)
    if not found:
        raise ValueError(
            f"{run.path}: no checkpoint; `cosmos pretrain` makes one, --checkpoint names another"
        )
    return str(found[0])


def encoders(
    name: str, params: Params, machine: Machine, device: torch.device
) -> Iterator[tuple[str, Encoder]]:
    """The models of a checkpoint that are to be evaluated, one at a time."""
    if name.startswith("open_clip:"):
        yield "baseline", open_clip_baseline(name, device)
        return
    checkpoint = checkpoints.read(checkpoints.fetch(name, machine.cache_root))
    config = checkpoint.config or checkpoints.published_config(name) or ModelConfig.of(params)
    for which in params.evaluate.models:
        yield which, encoder_of(checkpoint, which, config, device)


def export(checkpoint: str, output: Path, which: str, machine: Machine) -> str:
    """Writes the plain CLIP inside a checkpoint; says how open_clip loads it."""
    found = checkpoints.read(checkpoints.fetch(checkpoint, machine.cache_root))
    config = found.config or checkpoints.published_config(checkpoint)
    if config is None:
        raise ValueError(f"{checkpoint}: does not say its architecture, and has no published name")
    checkpoints.export_clip(found.load(which, config), config, output)
    if config.model.architecture != "inline":
        return f"open_clip.create_model('{config.model.architecture}', pretrained='{output}')"
    description = output.with_suffix(".json")
    return (
        f"open_clip.add_model_config('{description}')\n"
        f"open_clip.create_model('{output.stem}', pretrained='{output}')"
    )
