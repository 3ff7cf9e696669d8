"""Model cards: README.md of an exported model, in the form that the Hugging Face hub reads and shows.

A card is for strangers. It has no path, name of a host or command of this machine, and texts that come from
elsewhere are shown literally.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from cosmos.config.figures import is_caveat
from cosmos.config.number_text import format_number
from cosmos.config.params import LossParams, Params
from cosmos.config.settings_file import dump_settings
from cosmos.model.checkpoints import ModelConfig
from cosmos.model.export_format import ModelOrigin
from cosmos.report.markdown import markdown_code, markdown_text
from cosmos.run.dataset_version import describe_version
from cosmos.run.provenance_record import Provenance, RunSession
from cosmos.run.results import ResultEntry, overall_figures
from cosmos.run.statistics.intervals import LEVEL_TEXT
from cosmos.stages.evaluation_result import entries_markdown, entry_of_models
from cosmos.stages.report_facts import describe_code, describe_device, describe_packages

PAPER = "https://arxiv.org/abs/2412.01814"

UNKNOWN_LICENCE = "unknown"
"""Value that the hub has for a licence that nobody stated."""

TASKS = {
    "retrieval": "zero-shot-retrieval",
    "classification": "zero-shot-image-classification",
    "segmentation": "image-segmentation",
    "perception": "image-text-matching",
}
"""Tasks of the suites in the hub's list of results."""

CITATION = """@inproceedings{kim2025cosmos,
  title     = {COSMOS: Cross-Modality Self-Distillation for Vision Language Pre-training},
  author    = {Kim, Sanghwan and Xiao, Rui and Georgescu, Mariana-Iuliana and Alaniz, Stephan
               and Akata, Zeynep},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2025},
}"""


USAGE = """```python
import open_clip
import torch
from PIL import Image

model, _, preprocess = open_clip.create_model_and_transforms("{address}")
tokenizer = open_clip.get_tokenizer("{address}")
model.eval()
with torch.no_grad():
    image = model.encode_image(preprocess(Image.open("photo.jpg")).unsqueeze(0), normalize=True)
    texts = model.encode_text(tokenizer(["a photo of a cat", "a photo of a dog"]), normalize=True)
    print((model.logit_scale.exp() * image @ texts.T).softmax(dim=-1))
```

`open_clip_model.safetensors` is the CLIP, which is all that open_clip needs. `cosmos.safetensors` has the
parts of COSMOS that a CLIP does not have: token mappings, cross-attention pools, scale of the distillation.
COSMOS's own code reads both: `cosmos evaluate --checkpoint FOLDER`."""
"""Code that embeds a photograph and captions, and the use of the files of weights."""


@dataclass(frozen=True)
class TrainingFacts:
    """Facts about the training of a model that its run recorded."""

    params: Params
    provenance: Provenance | None
    """None for a run without a record of it"""
    remark: str
    """remark on the training data or on its end; "" for none"""


@dataclass(frozen=True)
class CardFacts:
    """Facts that a model card is written from."""

    name: str
    which: str
    origin: ModelOrigin
    config: ModelConfig
    context_length: int
    num_weights: int
    """number of weights of the plain CLIP"""
    licence: str
    address: str
    """address by which open_clip loads the model: hf-hub:USER/NAME, or local-dir:PATH"""
    results: Mapping[str, Mapping[str, ResultEntry]]
    """entries of the results of the checkpoint, by suite and label of the dataset"""
    training: TrainingFacts | None
    """None for a checkpoint without records of its training"""

    @property
    def own_results(self) -> dict[str, dict[str, ResultEntry]]:
        """Results of the exported model alone, named without a path of this machine."""
        return {
            suite: {
                label: {**entry_of_models(entry, [self.which]), "checkpoint": self.name}
                for label, entry in entries.items()
                if self.which in entry["models"]
            }
            for suite, entries in self.results.items()
        }


def hub_card(facts: CardFacts) -> str:
    """Return the text of README.md."""
    sections = {
        "": introduction(facts),
        "Use it": USAGE.format(address=facts.address),
        "Training data": "\n".join(data_lines(facts.training)),
        "Recipe": recipe(facts),
        "Figures": figures_text(facts),
        "Limits": "\n".join(f"- {line}" for line in limits(facts)),
        "Licence": licence_text(facts.licence),
        "Provenance": "\n".join(f"- {line}" for line in provenance_lines_of(facts)),
        "Citation": f"```bibtex\n{CITATION}\n```",
    }
    texts = [f"## {heading}\n\n{text}" if heading else text for heading, text in sections.items()]
    return "\n\n".join([f"---\n{metadata(facts).to_yaml()}\n---", *texts]) + "\n"


def metadata(facts: CardFacts) -> ModelCardData:
    """Return the metadata by which the hub finds and filters models."""
    results = list(evaluation_results(facts))
    return ModelCardData(
        license=facts.licence,
        library_name="open_clip",
        pipeline_tag="zero-shot-image-classification",
        tags=["clip", "cosmos", "vision-language", "self-distillation"],
        model_name=facts.name if results else None,
        eval_results=results or None,
    )


def evaluation_results(facts: CardFacts) -> Iterator[EvalResult]:
    """Yield the overall figures in the hub's form; the tables of the card have their intervals."""
    for suite, entries in facts.own_results.items():
        for label, entry in entries.items():
            for metric, value in overall_figures(entry["models"][facts.which]).items():
                is_quality = not is_caveat(f"{suite}/{label}/{facts.which}/{metric}")
                if is_quality and math.isfinite(value):
                    yield EvalResult(TASKS[suite], label, entry["title"] or label, metric, value)


def introduction(facts: CardFacts) -> str:
    """Return the title of a card, and what the model is."""
    config, size = facts.config, facts.config.image_size
    is_inline = config.model.architecture == "inline"
    architecture = "a small ViT of its own" if is_inline else markdown_text(config.model.architecture)
    kind = (
        "an average of the student over its steps" if facts.which == "teacher" else "the one that is trained"
    )
    return (
        f"# {markdown_text(facts.name)}\n\n"
        f"A model of image and text: {architecture}, pretrained by {objective(config.loss)}. It is the "
        f"{facts.which}, {kind}. It takes images of {size} x {size} pixels and captions of "
        f"{facts.context_length} tokens, and has {format_number(facts.num_weights / 1e6)} million weights."
    )


def objective(loss: LossParams) -> str:
    """Return the objective of a training, with its source."""
    contrastive = {"clip": "CLIP", "siglip": "SigLIP"}[loss.contrastive]
    if not loss.distills:
        return f"the contrastive loss of {contrastive} alone, a baseline of [COSMOS]({PAPER})"
    if loss.distillation == "cross-modal":
        return (
            f"[COSMOS]({PAPER}): the contrastive loss of {contrastive} and cross-modality self-distillation"
        )
    return f"an ablation of [COSMOS]({PAPER}), distillation {loss.distillation}"


def data_lines(training: TrainingFacts | None) -> Iterator[str]:
    """Yield sentences on the training data."""
    if training is None:
        yield "Not recorded in the checkpoint."
        return
    recorded, data = training.provenance, training.params.data
    yield f"The dataset {markdown_code(data.name)}, of the source {markdown_code(data.source)}."
    if recorded and (sha256 := recorded.data.get("train")):
        yield f"It has {describe_version(sha256, recorded.dataset.num_samples)}."
    if training.remark:
        yield training.remark


def recipe(facts: CardFacts) -> str:
    """Return the parameters of the training, without those that hold paths."""
    if facts.training is None:
        return "Not recorded in the checkpoint."
    sections = facts.training.params.model_dump(include={"views", "model", "loss", "pretrain"})
    if facts.training.params.model.architecture != "inline":
        del sections["model"]["inline"]
    progress = f"Step {facts.origin.step}, epoch {facts.origin.epoch}, with these parameters:"
    return f"{progress}\n\n```yaml\n{dump_settings(sections).rstrip()}\n```"


def figures_text(facts: CardFacts) -> str:
    """Return the tables of the figures, with intervals, published ones and chance as far as there are any."""
    tables = [entries_markdown(suite, entries) for suite, entries in facts.own_results.items() if entries]
    if not tables:
        return "Nothing of this model was measured."
    legend = (
        f"Zero-shot, in percent; ranks count from 1. ± {LEVEL_TEXT}: the interval over a dataset's images."
    )
    return "\n\n".join([legend, *tables]).rstrip()


def limits(facts: CardFacts) -> Iterator[str]:
    """Yield sentences on what the model is not good for, as far as its records tell."""
    unmeasured = [suite for suite in TASKS if not facts.own_results.get(suite)]
    if unmeasured:
        yield f"Not measured: {', '.join(unmeasured)}."
    yield "The figures are of one training: their intervals are over images, and not over seeds."
    yield f"Captions are cut to {facts.context_length} tokens, images to their middle square."
    yield "It understands the language of its captions alone."
    yield (
        "It repeats what is in its data, which nobody has examined for errors, prejudice or pictures of "
        "people. It is for research, and not for decisions about people."
    )


def licence_text(licence: str) -> str:
    """Return the licence of the weights, or that it is not known."""
    if licence == UNKNOWN_LICENCE:
        return "Not stated. Ask whoever published the model before you use it; its data may have terms, too."
    return f"Of the weights: {markdown_code(licence)}. Its data may have terms, too."


def provenance_lines_of(facts: CardFacts) -> Iterator[str]:
    """Yield the checkpoint, code, packages, device and data that a model comes from."""
    origin, recorded = facts.origin, facts.training and facts.training.provenance
    if origin.run:
        yield f"run {markdown_code(origin.run)}"
    yield f"checkpoint {markdown_code(origin.checkpoint)}, sha256 `{origin.sha256}`"
    for name, sha256 in recorded.data.items() if recorded else ():
        yield f"data, {markdown_text(name)}: manifest's sha256 {markdown_code(sha256)}"
    sessions = recorded.sessions if recorded else []
    yield from dict.fromkeys(line for session in sessions for line in session_lines(session))


def session_lines(session: RunSession) -> Iterator[str]:
    """Yield the code, packages and device of a session of training."""
    yield f"code {markdown_code(describe_code(session))}"
    yield f"packages {markdown_code(describe_packages(session))}"
    if device := describe_device(session):
        yield f"device {markdown_code(device)}"
