"""Parameters of evaluation: datasets of each suite, and descriptions of sets of one's own.

A set of one's own is described where the parameters are (an overlay in experiments/), so that it is part of
what decides a result. Its paths start from the machine's source_root.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cosmos.config.section import Positive, Precision, Section, Share

SuiteName = Literal["retrieval", "classification", "segmentation", "perception"]
Attention = Literal["csa", "plain"]

PREPARED_SPLITS = ("heldout", "train")
"""Datasets of retrieval that are splits of the prepared dataset."""


def require_plain_name(name: str) -> str:
    """Return a name that figures and files can have as a part. Raises ValueError for one with a slash."""
    if not name or "/" in name or "\0" in name:
        raise ValueError("a name needs characters, and none of them a slash")
    return name


SetName = Annotated[str, AfterValidator(require_plain_name)]
"""Name of a set of one's own."""


class RetrievalSet(Section):
    """Images and captions of one's own, for retrieval."""

    layout: Literal["coco", "coco-karpathy", "flickr30k", "flickr8k"]
    """form of the captions file"""
    annotations: str
    """captions file"""
    images: str
    """folder of images"""
    split: str = "test"
    """split of a coco-karpathy file"""


class RetrievalParams(Section):
    """Image-text retrieval."""

    datasets: tuple[str, ...] = ("heldout",)
    """datasets to measure: heldout and train are splits of data.name; `cosmos datasets` lists all"""
    own: dict[SetName, RetrievalSet] = Field(default_factory=dict)
    """sets of one's own, by name"""


class ClassificationSet(Section):
    """A folder of class folders of one's own, for classification."""

    images: str
    """folder that holds a folder of images for each class"""
    prompts: str = ""
    """shipped dataset whose class names, in the order of the sorted folders, and templates are used: cifar10,
    eurosat, ..."""
    class_names: str = ""
    """file of class names, a line each, in the order of the sorted folders; without one, the folders' own"""
    templates: Annotated[tuple[str, ...], Field(min_length=1)] = ("a photo of a {}.",)
    """prompts, with {} for the class name"""


class ClassificationParams(Section):
    """Zero-shot classification."""

    datasets: tuple[str, ...] = ("demo",)
    """datasets to measure: demo is the demo world's; `cosmos datasets` lists all"""
    own: dict[SetName, ClassificationSet] = Field(default_factory=dict)
    """sets of one's own, by name"""


class SegmentationProtocol(Section):
    """Protocol of segmentation: resizing, softmax and thresholds. Source: COSMOS (after SCLIP)."""

    short_side: Positive = 336
    """pixels that an image's short side is resized to"""
    logit_scale: Annotated[float, Field(gt=0)] = 40.0
    """factor on cosines before the softmax over queries"""
    prob_thd: Share = 0.0
    """pixels whose highest probability is below it become class 0"""
    area_thd: Share | None = None
    """classes above 0 whose share of the area of all classes above 0 is not above it are dropped"""
    zero_is_ignored: bool = False
    """label 0 of the masks is no class: classes are labelled from 1"""
    ignore_label: Annotated[int, Field(ge=0, le=255)] = 255
    """label of pixels that do not count"""


class SegmentationSet(SegmentationProtocol):
    """Images and masks of one's own, for segmentation."""

    classes: str
    """file of classes: a line each in the order of labels, synonyms after commas"""
    images: str
    """folder of images"""
    masks: str
    """folder of masks, at the images' paths: palette or greyscale PNGs whose values are labels"""
    image_suffix: str = ".jpg"
    """end of an image's name"""
    mask_suffix: str = ".png"
    """end of its mask's name, in place of image_suffix"""


class SegmentationParams(Section):
    """Zero-shot semantic segmentation."""

    datasets: tuple[str, ...] = ("demo",)
    """datasets to measure: demo is the demo world's; `cosmos datasets` lists all"""
    attention: Annotated[tuple[Attention, ...], Field(min_length=1)] = ("csa", "plain")
    """attention of the last block: correlative self-attention (SCLIP), the model's own, or both at once"""
    own: dict[SetName, SegmentationSet] = Field(default_factory=dict)
    """sets of one's own, by name"""


class PerceptionSet(Section):
    """Captions and their near misses of one's own, for perception."""

    layout: Literal["sugarcrepe", "mmvp", "winoground"]
    """form of the annotations"""
    annotations: str
    """folder of JSON files (sugarcrepe), Questions.csv (mmvp) or examples.jsonl (winoground)"""
    images: str
    """folder of images"""


class PerceptionParams(Section):
    """Tests of perception and composition."""

    datasets: tuple[str, ...] = ("demo",)
    """datasets to measure: demo is the demo world's; `cosmos datasets` lists all"""
    own: dict[SetName, PerceptionSet] = Field(default_factory=dict)
    """sets of one's own, by name"""


class EvaluateParams(Section):
    """Zero-shot evaluation."""

    models: Annotated[tuple[Literal["student", "teacher"], ...], Field(min_length=1)] = ("student", "teacher")
    """models of a checkpoint that are evaluated"""
    precision: Precision = "float32"
    """arithmetic of the encoders: float32, or autocast to bf16 (bfloat16) or fp16 (float16)"""
    published: str = ""
    """published checkpoint whose figures are set beside the results; without one, the checkpoint itself"""
    while_training: Annotated[tuple[SuiteName, ...], Field(min_length=1)] = ("retrieval",)
    """suites that measure the models every pretrain.evaluate_every_epochs"""
    retrieval: RetrievalParams = RetrievalParams()
    """image-text retrieval"""
    classification: ClassificationParams = ClassificationParams()
    """zero-shot classification"""
    segmentation: SegmentationParams = SegmentationParams()
    """zero-shot semantic segmentation"""
    perception: PerceptionParams = PerceptionParams()
    """perception and composition"""
