"""Params: every knob that decides the result, one frozen section per concern.

`cosmos.config.experiment` reads them; `cosmos.config.identity` says when two of them are the same.
The defaults here and params.yaml say the same (a test holds them together): the default experiment is small
enough for a laptop.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cosmos.config.evaluate_params import EvaluateParams
from cosmos.config.section import Natural, NumEpochs, Positive, Precision, Section, Share, Weight
from cosmos.errors import InputError

SourceName = Literal[
    "demo", "captions-csv", "coco", "flickr30k", "folder", "dreamlip", "pixelprose", "shards"
]
Distillation = Literal["cross-modal", "no-cross-attention", "image-only", "text-only", "none"]


class DemoParams(Section):
    """The procedural world that `source: demo` draws."""

    num_train: Positive = 2000
    """images to train on"""
    num_heldout: Positive = 500
    """images held out for evaluation"""
    image_size: Annotated[int, Field(ge=32)] = 96
    """side of the square images, in pixels"""


class DataParams(Section):
    """Dataset that `cosmos prepare` makes: its source, its splits, its shards."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "demo"
    """name of the dataset: its folder below the machine's data_root"""
    source: SourceName = "demo"
    """form that the input comes in"""
    annotations: str = ""
    """captions file (captions-csv, coco, flickr30k), table or folder of Parquet (dreamlip, pixelprose), or
    pattern of shards (shards), below the machine's source_root"""
    images: str = ""
    """folder of images (captions-csv, coco, flickr30k, folder) or of img2dataset's output (dreamlip,
    pixelprose), below the machine's source_root"""
    num_heldout: Natural = 0
    """samples set aside, at random by seed, as the held-out split (every source but demo and shards)"""
    samples_per_shard: Positive = 1000
    """samples in a shard"""
    max_pixels: Positive = 50_000_000
    """an image of more pixels is skipped"""
    max_skipped: Share = 0.05
    """share of the inputs that may be skipped before preparing fails"""
    seed: Natural = 0
    """seed of the demo world, the held-out split and the order of samples in the shards"""
    demo: DemoParams = DemoParams()
    """the procedural world"""


class ViewParams(Section):
    """Views that one sample gives in pretraining: image crops and text crops."""

    image_size: Positive = 64
    """side of global crops and of evaluated images, in pixels"""
    local_size: Positive = 32
    """side of local image crops, in pixels"""
    num_local_crops: Natural = 2
    """local image crops of a sample, beside its two global ones"""
    crop_scale: Annotated[float, Field(gt=0.05, lt=1)] = 0.4
    """share of the image's area at which local crops end and global ones begin"""
    num_captions: Annotated[int, Field(ge=2)] = 4
    """captions of a sample: two global ones, the rest local"""
    caption_mode: Literal["textcrop", "random", "raw", "short", "long"] = "textcrop"
    """way of drawing captions from a sample's sentences"""
    max_sentences: Positive = 3
    """sentences in a global caption: drawn uniformly from 1 to this"""


class VisionParams(Section):
    """Image tower of an inline architecture: a ViT."""

    width: Positive = 96
    """channels"""
    layers: Positive = 3
    """transformer blocks"""
    head_width: Positive = 32
    """channels of an attention head"""
    patch_size: Positive = 8
    """side of a patch, in pixels"""


class TextParams(Section):
    """Text tower of an inline architecture: a causal transformer."""

    width: Positive = 96
    """channels"""
    layers: Positive = 3
    """transformer blocks"""
    heads: Positive = 3
    """attention heads"""
    vocab_size: Positive = 49408
    """tokens of the vocabulary"""
    context_length: Positive = 77
    """tokens of a caption"""


class InlineParams(Section):
    """A small architecture written out, for `model.architecture: inline`."""

    embed_dim: Positive = 128
    """channels of the shared embedding"""
    vision: VisionParams = VisionParams()
    """image tower"""
    text: TextParams = TextParams()
    """text tower"""


class ModelParams(Section):
    """Architecture that student and teacher share."""

    architecture: str = "inline"
    """name of an open_clip ViT config (ViT-B-16, ...), or inline"""
    cross_attention_heads: Positive = 8
    """heads of the two cross-attention pools"""
    inline: InlineParams = InlineParams()
    """the architecture, when it is inline"""


class DistillTermParams(Section):
    """Weights of the four distillation terms, named student's to teacher's modality."""

    image_to_image: Weight = 0.25
    """student image views to the teacher's image embeddings"""
    image_to_text: Weight = 0.25
    """student image views to the teacher's text embeddings"""
    text_to_image: Weight = 0.25
    """student text views to the teacher's image embeddings"""
    text_to_text: Weight = 0.25
    """student text views to the teacher's text embeddings"""


class LossParams(Section):
    """The objective: w_contrastive x contrastive + w_distill x distillation."""

    contrastive: Literal["clip", "siglip"] = "clip"
    """contrastive loss between image and text views"""
    distillation: Distillation = "cross-modal"
    """self-distillation: cross-modal is COSMOS, none the plain contrastive baseline"""
    contrastive_weight: Weight = 1.0
    """weight of the contrastive loss"""
    distill_weight: Weight = 1.0
    """weight of the distillation loss"""
    siglip_bias: Annotated[float, Field(le=0)] = -10.0
    """bias of SigLIP's logits before training: published for batches of 32,000; -ln(batch size) elsewhere"""
    distill_terms: DistillTermParams = DistillTermParams()
    """weights inside the distillation loss"""

    @property
    def distills(self) -> bool:
        """True when there is a distillation loss, which needs the teacher's embeddings."""
        return self.distillation != "none"


class PretrainParams(Section):
    """Optimisation."""

    epochs: NumEpochs = 3
    """passes over the training split"""
    batch_size: Positive = 32
    """samples of a step, over all ranks and micro-batches"""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """peak learning rate"""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """AdamW's decay of the gradient's mean"""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.98
    """AdamW's decay of the squared gradient's mean"""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """AdamW's epsilon"""
    weight_decay: Weight = 0.5
    """AdamW's weight decay, on matrices alone"""
    warmup_steps: Natural = 20
    """steps over which the learning rate rises linearly"""
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.96
    """momentum of the teacher: share of its own weights that it keeps at a step"""
    momentum_schedule: Literal["fixed", "cosine"] = "fixed"
    """fixed, or rising to 1 over training along a half cosine"""
    teacher_update: Literal["before", "after"] = "before"
    """state of the student that the teacher follows: before (as published) or after the optimiser's update"""
    precision: Precision = "float32"
    """arithmetic: float32, or autocast to bf16 (bfloat16) or fp16 (float16, with a gradient scaler)"""
    clip_grad_norm: Weight = 0.0
    """largest norm of the gradient; 0: unbounded"""
    max_nonfinite_steps: Natural = 0
    """steps in a row with a non-finite loss that are skipped before training stops"""
    max_damaged: Share = 0.001
    """share of the samples that may be missing or damaged before training stops"""
    evaluate_every_epochs: Natural = 0
    """epochs between evaluations by evaluate.while_training; 0: none while training"""
    log_every_steps: Positive = 10
    """steps between lines of metrics.jsonl"""
    seed: Natural = 0
    """seed of initial weights, order of samples and views"""


class Params(Section):
    """Everything that decides a result, by section."""

    data: DataParams = DataParams()
    """source of image-caption pairs"""
    views: ViewParams = ViewParams()
    """image and text crops"""
    model: ModelParams = ModelParams()
    """architecture"""
    loss: LossParams = LossParams()
    """objective"""
    pretrain: PretrainParams = PretrainParams()
    """optimisation"""
    evaluate: EvaluateParams = EvaluateParams()
    """zero-shot evaluation"""

    @property
    def num_local_crops(self) -> int:
        """Number of local image crops that the objective uses: 0 unless it distils image views."""
        return 0 if self.loss.distillation in ("none", "text-only") else self.views.num_local_crops

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        problems = [
            *_data_problems(self.data),
            *_architecture_problems(self),
            *_loss_problems(self.loss),
        ]
        if problems:
            raise InputError("; ".join(problems))
        return self


def _data_problems(data: DataParams) -> list[str]:
    needs_annotations = data.source not in ("demo", "folder")
    needs_images = data.source not in ("demo", "shards")
    problems = []
    if needs_annotations and not data.annotations:
        problems.append(
            f"data.annotations: source {data.source} needs the path of its captions file or shards"
        )
    if needs_images and not data.images:
        problems.append(f"data.images: source {data.source} needs the folder of its images")
    return problems


def _architecture_problems(params: Params) -> list[str]:
    inline, views, problems = params.model.inline, params.views, list[str]()
    if views.num_local_crops and views.local_size > views.image_size:
        problems.append(
            f"views.local_size: {views.local_size} is larger than views.image_size {views.image_size}"
        )
    if params.model.architecture != "inline":
        return problems
    vision, text = inline.vision, inline.text
    local_size = views.local_size if views.num_local_crops else 0
    problems += [
        f"{key}: {size} is not a multiple of {unit_key} {unit}"
        for key, size, unit_key, unit in (
            ("views.image_size", views.image_size, "model.inline.vision.patch_size", vision.patch_size),
            ("views.local_size", local_size, "model.inline.vision.patch_size", vision.patch_size),
            ("model.inline.vision.width", vision.width, "model.inline.vision.head_width", vision.head_width),
            ("model.inline.text.width", text.width, "model.inline.text.heads", text.heads),
            (
                "model.inline.embed_dim",
                inline.embed_dim,
                "model.cross_attention_heads",
                params.model.cross_attention_heads,
            ),
        )
        if size % unit
    ]
    return problems


def _loss_problems(loss: LossParams) -> list[str]:
    has_terms = loss.distillation in ("cross-modal", "no-cross-attention")
    if not has_terms and loss.distill_terms != DistillTermParams():
        return [f"loss.distill_terms: distillation {loss.distillation} does not weight the four terms"]
    if has_terms and not any(loss.distill_terms.model_dump().values()):
        return ["loss.distill_terms: no term has a weight; for none at all set loss.distillation to none"]
    return []
