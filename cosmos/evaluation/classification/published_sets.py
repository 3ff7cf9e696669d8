"""Cards of the published classification datasets, which torchvision's own classes find on disk."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cosmos.config.disk_reading import is_dir
from cosmos.config.machine import Machine
from cosmos.config.params import Params
from cosmos.data.sources.caption_files import path_below
from cosmos.errors import InputError
from cosmos.evaluation.card import DatasetCard, OpenDataset
from cosmos.evaluation.classification.layouts import LabelledFiles, read_class_folders
from cosmos.evaluation.dataset_files import (
    PUBLISHED_REMEDY,
    check_all_exist,
    check_file_exists,
    unreadable_dataset,
)
from cosmos.evaluation.images import ImageFiles, PixelImages
from cosmos.evaluation.presence import DatasetPresence, ImageNames, find_whole

ALL = slice(None)


@dataclass(frozen=True)
class TorchvisionDataset:
    """Dataset of torchvision, which is imported when it is read or downloaded: cards are listed without."""

    name: str
    """name of the class in torchvision.datasets"""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Return the dataset, as the class makes it."""
        return self.load()(*arguments, **options)

    def load(self) -> Any:
        """Return the class."""
        from torchvision import datasets

        return getattr(datasets, self.name)


CIFAR10, CIFAR100 = TorchvisionDataset("CIFAR10"), TorchvisionDataset("CIFAR100")
DTD, SUN397 = TorchvisionDataset("DTD"), TorchvisionDataset("SUN397")
CALTECH101, FGVC_AIRCRAFT = TorchvisionDataset("Caltech101"), TorchvisionDataset("FGVCAircraft")
FLOWERS102, FOOD101 = TorchvisionDataset("Flowers102"), TorchvisionDataset("Food101")
OXFORD_PETS, STANFORD_CARS = TorchvisionDataset("OxfordIIITPet"), TorchvisionDataset("StanfordCars")

SPLIT_SEED = 0
"""Seed of the test splits of datasets that come without one. Another seed is another dataset."""


@dataclass(frozen=True)
class PublishedImageFiles:
    """Published dataset of image files."""

    name: str
    """name of the dataset and of its prompts"""
    title: str
    folder: str
    """folder that holds all of it, below datasets_root"""
    layout: tuple[str, ...]
    """files and folders in it"""
    sources: tuple[str, ...]
    """files in it that define its content, such as the list of images"""
    num_files: int
    """number of labelled images that they name, or that the folder holds; all must be there"""
    num_images: int
    """number of those that are evaluated"""
    size: str
    licence: str
    read: Callable[[Path], LabelledFiles]
    """returns the images in a datasets_root, classes in the order of the prompts; raises nearly anything"""
    test: slice
    """slice of each class's images that is evaluated, of all in a random order"""
    download: Callable[[Path], object] | None = None
    """downloads it into a datasets_root; None where torchvision cannot"""

    def card(self) -> DatasetCard:
        """Return its card."""
        return DatasetCard(
            suite="classification",
            name=self.name,
            title=self.title,
            layout=tuple(f"{self.folder}/{line}" for line in self.layout),
            size=self.size,
            licence=self.licence,
            num_images=self.num_images,
            find=self.find,
            open=self.open,
            download=self.download,
        )

    def find(self, params: Params, machine: Machine) -> DatasetPresence:
        """Return its presence, by the names of its lists and images. Raises as `find_whole`."""
        folder = machine.datasets_root / self.folder
        sources = [folder / source for source in self.sources]
        images = ImageNames((folder,), (".jpg", ".jpeg"))
        return find_whole(sources, [images], self.num_files, _remedy(self.name, self.download))

    def open(self, params: Params, machine: Machine) -> OpenDataset:
        """Open it. Raises InputError for missing or wrong files, TransientError for a failing disk."""
        from cosmos.evaluation.classification.measure import ClassificationDataset, open_labelled_images
        from cosmos.evaluation.prompts import CLASSIFICATION_PROMPTS

        folder, prompts = machine.datasets_root / self.folder, CLASSIFICATION_PROMPTS[self.name]
        files = self._read_files(machine.datasets_root)
        self._check_complete(folder, files, len(prompts.class_names))
        evaluated = draw_split(files, self.test)
        images = ImageFiles(folder, evaluated.paths, params.data.max_pixels)
        sources = tuple(folder / source for source in self.sources)
        return open_labelled_images(ClassificationDataset(images, evaluated.labels, prompts), sources)

    def _read_files(self, root: Path) -> LabelledFiles:
        """Return all labelled images, which must lie in the dataset's folder."""
        folder, remedy = root / self.folder, _remedy(self.name, self.download)
        if not is_dir(folder):
            raise InputError(f"{folder}: no such folder; {remedy}")
        try:
            files = self.read(root)
            for path in files.paths:
                path_below(folder, path.relative_to(folder).as_posix())
        except Exception as error:  # readers trust the files, and raise nearly anything on damaged ones
            raise unreadable_dataset(folder, error, remedy) from error
        return files

    def _check_complete(self, folder: Path, files: LabelledFiles, num_classes: int) -> None:
        """Raise InputError unless all of it is there."""
        remedy = _remedy(self.name, self.download)
        if len(files.classes) != num_classes:
            raise InputError(f"{folder}: {len(files.classes)} classes in place of {num_classes}; {remedy}")
        if len(files.paths) != self.num_files:
            raise InputError(
                f"{folder}: {len(files.paths):,} images in place of {self.num_files:,}; {remedy}"
            )
        if not 0 <= min(files.labels) <= max(files.labels) < num_classes:
            raise InputError(f"{folder}: labels outside of its {num_classes} classes; {remedy}")
        check_all_exist(folder.joinpath(*self.sources[:1]), "images", files.paths, remedy)


def draw_split(files: LabelledFiles, test: slice) -> LabelledFiles:
    """Return the images at `test` of each class, whose images are first put in order at random.

    The order depends on SPLIT_SEED, on the class and on how many images it has: it is the same everywhere.
    """
    kept = sorted(i for members in _shuffled_classes(files) for i in members[test])
    return LabelledFiles(
        tuple(files.paths[i] for i in kept), tuple(files.labels[i] for i in kept), files.classes
    )


def _shuffled_classes(files: LabelledFiles) -> Iterator[list[int]]:
    """Yield the indices of each class's images, in a random order."""
    import numpy as np

    labels = np.array(files.labels)
    for label in range(len(files.classes)):
        yield np.random.default_rng([SPLIT_SEED, label]).permutation(np.flatnonzero(labels == label)).tolist()


def _remedy(name: str, download: Callable[[Path], object] | None) -> str:
    """Return advice on an incomplete dataset. torchvision downloads none whose folder is there."""
    command = f"`cosmos datasets {name} --download` fetches it (remove its folder first, if there is one)"
    return PUBLISHED_REMEDY + (f", {command}" if download else "")


def _read_by_loader(dataset: Any) -> LabelledFiles:
    """Return the files of a torchvision dataset whose loader returns the path in place of the image."""
    items = [dataset[index] for index in range(len(dataset))]
    paths, labels = tuple(path for path, _ in items), tuple(int(label) for _, label in items)
    return LabelledFiles(paths, labels, tuple(dataset.classes))


def _read_sun397(root: Path) -> LabelledFiles:
    from cosmos.evaluation.prompts import CLASSIFICATION_PROMPTS

    files = _read_by_loader(SUN397(root, loader=Path))
    # In ClassName.txt jail/indoor comes before jail_cell, and in the prompts it is the other way round.
    names = CLASSIFICATION_PROMPTS["sun397"].class_names
    label_of = {name: label for label, name in enumerate(names)}
    labels = [label_of[re.sub("[/_]", " ", name)] for name in files.classes]
    # torchvision lists the files in the file system's order.
    items = sorted((path, labels[label]) for path, label in zip(files.paths, files.labels, strict=True))
    return LabelledFiles(tuple(path for path, _ in items), tuple(label for _, label in items), names)


def _read_oxford_pets(root: Path) -> LabelledFiles:
    dataset = OXFORD_PETS(root, split="test")
    # Its public methods decode the images.
    return LabelledFiles(tuple(dataset._images), tuple(dataset._labels), tuple(dataset.classes))


def _read_caltech101(root: Path) -> LabelledFiles:
    dataset = CALTECH101(root)
    folder = Path(dataset.root) / "101_ObjectCategories"
    paths = tuple(
        folder / dataset.categories[label] / f"image_{number:04d}.jpg"
        for label, number in zip(dataset.y, dataset.index, strict=True)
    )
    return LabelledFiles(paths, tuple(dataset.y), tuple(dataset.categories))


def _cifar_card(
    name: str, title: str, size: str, dataset: TorchvisionDataset, folder: str, files: Sequence[str]
) -> DatasetCard:
    """Return the card of CIFAR-10 or CIFAR-100; `folder` and `files` are those of torchvision's class."""
    layout = tuple(f"{folder}/{file}" for file in files)
    return DatasetCard(
        suite="classification",
        name=name,
        title=title,
        layout=layout,
        size=size,
        licence="none stated; cite its report",
        num_images=10_000,
        find=partial(_find_cifar, name, dataset, layout),
        open=partial(_open_cifar, name, dataset),
        download=partial(dataset, train=False, download=True),
    )


def _find_cifar(
    name: str, dataset: TorchvisionDataset, layout: Sequence[str], params: Params, machine: Machine
) -> DatasetPresence:
    for file in layout:
        check_file_exists(machine.datasets_root / file, _remedy(name, dataset))
    return DatasetPresence()


def _open_cifar(name: str, dataset: TorchvisionDataset, params: Params, machine: Machine) -> OpenDataset:
    """Open CIFAR. Raises InputError when a file is missing, or is not the published one."""
    from cosmos.evaluation.classification.measure import ClassificationDataset, open_labelled_images
    from cosmos.evaluation.prompts import CLASSIFICATION_PROMPTS

    reader = dataset.load()
    folder = machine.datasets_root / reader.base_folder
    try:
        # Its files are pickles. They are safe to open because torchvision compares their MD5s with those of
        # the published files first.
        cifar = reader(machine.datasets_root, train=False)
    except RuntimeError:
        remedy = _remedy(name, dataset)
        raise InputError(f"{folder}: files are missing, or are not the published ones; {remedy}") from None
    file, md5 = reader.test_list[0]
    images = PixelImages(f"{name} {md5}", cifar.data)
    labelled = ClassificationDataset(images, tuple(cifar.targets), CLASSIFICATION_PROMPTS[name])
    return open_labelled_images(labelled, (folder / file,))


CIFAR10_FILES = (
    "cifar-10-batches-py",
    (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
)
CIFAR100_FILES = ("cifar-100-python", ("train", "test", "meta"))
"""Folder and files of torchvision's classes, which a test compares with these."""

IMAGE_FILE_SETS = (
    PublishedImageFiles(
        name="imagenet",
        title="ImageNet val (ILSVRC 2012)",
        folder="imagenet/val",
        layout=("<wnid>/*.JPEG",),
        sources=(),
        num_files=50_000,
        num_images=50_000,
        size="50,000 images of 1,000 classes; 6.4 GB",
        licence="non-commercial research, on registration",
        read=lambda root: read_class_folders(root / "imagenet" / "val"),
        test=ALL,
    ),
    PublishedImageFiles(
        name="food101",
        title="Food-101 test",
        folder="food-101",
        layout=("meta/test.json", "images/<class>/*.jpg"),
        sources=("meta/test.json",),
        num_files=25_250,
        num_images=25_250,
        size="25,250 images of 101 classes; 5 GB with the training images",
        licence="images of Foodspotting's users: scientific fair use",
        read=lambda root: _read_by_loader(FOOD101(root, split="test", loader=Path)),
        test=ALL,
        download=partial(FOOD101, split="test", download=True),
    ),
    PublishedImageFiles(
        name="sun397",
        title="SUN397, 50 images of each class",
        folder="SUN397",
        layout=("ClassName.txt", "<letter>/<class>/sun_*.jpg"),
        sources=("ClassName.txt",),
        num_files=108_754,
        num_images=19_850,
        size="19,850 images of 397 classes; 37 GB with the others",
        licence="research; images belong to their owners",
        read=_read_sun397,
        test=slice(50),
        download=partial(SUN397, download=True),
    ),
    PublishedImageFiles(
        name="stanford-cars",
        title="Stanford Cars test",
        folder="stanford_cars",
        layout=("devkit/cars_meta.mat", "cars_test_annos_withlabels.mat", "cars_test/*.jpg"),
        sources=("cars_test_annos_withlabels.mat", "devkit/cars_meta.mat"),
        num_files=8_041,
        num_images=8_041,
        size="8,041 images of 196 classes; 1 GB",
        licence="non-commercial research",
        read=lambda root: _read_by_loader(STANFORD_CARS(root, split="test", loader=Path)),
        test=ALL,
    ),
    PublishedImageFiles(
        name="fgvc-aircraft",
        title="FGVC-Aircraft test, by variant",
        folder="fgvc-aircraft-2013b",
        layout=("data/variants.txt", "data/images_variant_test.txt", "data/images/*.jpg"),
        sources=("data/images_variant_test.txt", "data/variants.txt"),
        num_files=3_333,
        num_images=3_333,
        size="3,333 images of 100 classes; 2.6 GB with the training images",
        licence="non-commercial research",
        read=lambda root: _read_by_loader(FGVC_AIRCRAFT(root, split="test", loader=Path)),
        test=ALL,
        download=partial(FGVC_AIRCRAFT, split="test", download=True),
    ),
    PublishedImageFiles(
        name="dtd",
        title="Describable Textures test, partition 1",
        folder="dtd/dtd",
        layout=("labels/test1.txt", "images/<class>/*.jpg"),
        sources=("labels/test1.txt",),
        num_files=1_880,
        num_images=1_880,
        size="1,880 images of 47 classes; 0.6 GB with the training images",
        licence="research",
        read=lambda root: _read_by_loader(DTD(root, split="test", partition=1, loader=Path)),
        test=ALL,
        download=partial(DTD, split="test", download=True),
    ),
    PublishedImageFiles(
        name="oxford-pets",
        title="Oxford-IIIT Pet test",
        folder="oxford-iiit-pet",
        layout=("annotations/test.txt", "images/*.jpg"),
        sources=("annotations/test.txt",),
        num_files=3_669,
        num_images=3_669,
        size="3,669 images of 37 classes; 0.8 GB with the training images",
        licence="CC BY-SA 4.0",
        read=_read_oxford_pets,
        test=ALL,
        download=partial(OXFORD_PETS, split="test", download=True),
    ),
    PublishedImageFiles(
        name="caltech101",
        title="Caltech-101, all but 30 images of each class",
        folder="caltech101/101_ObjectCategories",
        layout=("<class>/image_*.jpg", "BACKGROUND_Google (not a class)"),
        sources=(),
        num_files=8_677,
        num_images=5_647,
        size="5,647 images of 101 classes; 0.15 GB with the others",
        licence="CC BY 4.0",
        read=_read_caltech101,
        test=slice(30, None),
        download=partial(CALTECH101, download=True),
    ),
    PublishedImageFiles(
        name="flowers102",
        title="Oxford Flowers-102 test",
        folder="flowers-102",
        layout=("setid.mat", "imagelabels.mat", "jpg/image_*.jpg"),
        sources=("setid.mat", "imagelabels.mat"),
        num_files=6_149,
        num_images=6_149,
        size="6,149 images of 102 classes; 0.35 GB with the training images",
        licence="none stated; cite its paper",
        read=lambda root: _read_by_loader(FLOWERS102(root, split="test", loader=Path)),
        test=ALL,
        download=partial(FLOWERS102, split="test", download=True),
    ),
)
"""Published datasets of image files: those that torchvision reads, and ImageNet."""

CARDS = (
    *(published.card() for published in IMAGE_FILE_SETS),
    _cifar_card("cifar10", "CIFAR-10 test", "10,000 images of 10 classes; 0.2 GB", CIFAR10, *CIFAR10_FILES),
    _cifar_card(
        "cifar100", "CIFAR-100 test", "10,000 images of 100 classes; 0.2 GB", CIFAR100, *CIFAR100_FILES
    ),
)
"""Cards of the published datasets of this suite."""
