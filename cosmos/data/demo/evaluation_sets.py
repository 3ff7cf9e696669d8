"""Small datasets of held-out scenes for every evaluation suite, in forms that the suites read anyway."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cosmos.data.demo.captions import NOUNS, full
from cosmos.data.demo.draw import draw, draw_mask, jpeg
from cosmos.data.demo.scene import (
    ALL_PAIRS,
    BACKGROUND_COLOURS,
    COLOURS,
    SHAPES,
    SIZES,
    TEXTURES,
    Object,
    Scene,
    draw_count,
    generator,
    make_scene,
    pick,
    relation,
)
from cosmos.files import replacing, write_json, write_text

NUM_SEGMENTED, NUM_PER_CLASS, NUM_COMPARED = 200, 25, 200
COMPLETE_FILE = "complete.json"
"""says for which parameters all the sets were written, and which files they are"""


def write_sets(folder: Path, side: int, seed: int) -> None:
    """Writes segmentation/, classification/ and perception/ into `folder`, unless that is done."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: evaluation sets need a folder here; remove this file")
    made_from = {"image_size": side, "seed": seed}
    if _is_complete(folder, made_from):
        return
    (folder / COMPLETE_FILE).unlink(missing_ok=True)  # while files of two worlds may be mixed
    files = [
        *write_segmentation(folder / "segmentation", side, seed),
        *write_classification(folder / "classification", side, seed),
        *write_perception(folder / "perception", side, seed),
    ]
    names = [file.relative_to(folder).as_posix() for file in files]
    write_json(folder / COMPLETE_FILE, {"made_from": made_from, "files": names})


def _is_complete(folder: Path, made_from: dict[str, int]) -> bool:
    try:
        complete = json.loads((folder / COMPLETE_FILE).read_text(encoding="utf-8"))
        return bool(complete["made_from"] == made_from) and all(
            (folder / name).is_file() for name in complete["files"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False  # a broken note is no note: the sets are written again


def write_segmentation(folder: Path, side: int, seed: int) -> Iterator[Path]:
    """classes.txt (a class per line, synonyms after commas, background first), images/*.jpg, masks/*.png."""
    background = [f"{colour} background" for colour in BACKGROUND_COLOURS]
    lines = [", ".join(words) for words in (["background", *background], *NOUNS.values())]
    write_text(folder / "classes.txt", "\n".join(lines) + "\n")
    yield folder / "classes.txt"
    for i in range(NUM_SEGMENTED):
        rng = generator(seed, "segmentation", i)
        scene = make_scene(rng, ALL_PAIRS, draw_count(rng))
        yield write_picture(folder / "images" / f"{i:04d}.jpg", scene, side, rng)
        mask = folder / "masks" / f"{i:04d}.png"
        with replacing(mask) as temporary:
            draw_mask(scene, side).save(temporary, "PNG")
        yield mask


def write_classification(folder: Path, side: int, seed: int) -> Iterator[Path]:
    """<shape>/*.jpg: scenes of a single object."""
    for number, shape in enumerate(SHAPES):
        pairs = [pair for pair in ALL_PAIRS if pair[1] == shape]
        for i in range(NUM_PER_CLASS):
            rng = generator(seed, "classification", number * NUM_PER_CLASS + i)
            yield write_picture(folder / shape / f"{i:04d}.jpg", make_scene(rng, pairs, 1), side, rng)


def write_perception(folder: Path, side: int, seed: int) -> Iterator[Path]:
    """SugarCrepe's form: files of {id: {filename, caption, negative_caption}}, and images/."""
    items: dict[str, dict[str, Any]] = {"replace_att": {}, "replace_obj": {}, "replace_rel": {}}
    for i in range(NUM_COMPARED):
        rng = generator(seed, "perception", i)
        scene = stacked_pair(rng)
        picture = write_picture(folder / "images" / f"{i:04d}.jpg", scene, side, rng)
        yield picture
        first, second = scene.objects
        for name, negative in negatives(scene, rng).items():
            items[name][str(i)] = {
                "filename": picture.name,
                "caption": said(first, second),
                "negative_caption": negative,
            }
    for name, pairs in items.items():
        write_json(folder / f"{name}.json", pairs)
        yield folder / f"{name}.json"


def stacked_pair(rng: np.random.Generator) -> Scene:
    """A scene of two objects, one above the other."""
    while True:
        scene = make_scene(rng, ALL_PAIRS, 2)
        if scene.objects[0].is_high != scene.objects[1].is_high:
            return scene


def said(first: Object, second: Object) -> str:
    """Two objects and how they lie to each other."""
    return f"{full(first)} {relation(first, second)} {full(second)}"


def negatives(scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """False captions of a stacked pair, by file: each with one attribute, shape or relation changed."""
    first, second = scene.objects
    opposite = "below" if relation(first, second) == "above" else "above"
    return {
        "replace_att": _said_with(scene, rng, pick(rng, ("colour", "texture", "size"))),
        "replace_obj": _said_with(scene, rng, "shape"),
        "replace_rel": f"{full(first)} {opposite} {full(second)}",
    }


def _said_with(scene: Scene, rng: np.random.Generator, attribute: str) -> str:
    """The pair's caption with another `attribute` of one object.

    A colour, shape or texture that neither has; of the two sizes the other one, which is false all the same,
    since no two objects share colour and shape.
    """
    values = {
        "colour": COLOURS,
        "shape": SHAPES,
        "size": SIZES,
        "texture": TEXTURES[1:],  # never plain, which captions leave out: `a star` is true of a striped one
    }[attribute]
    objects = list(scene.objects)
    i = int(rng.integers(len(objects)))
    unlike = {getattr(objects[i], attribute)}
    if attribute != "size":
        unlike |= {getattr(item, attribute) for item in objects}
    changes: dict[str, Any] = {attribute: pick(rng, [value for value in values if value not in unlike])}
    objects[i] = replace(objects[i], **changes)
    return said(objects[0], objects[1])


def write_picture(path: Path, scene: Scene, side: int, rng: np.random.Generator) -> Path:
    """Draws the scene into a JPEG file, atomically; its path."""
    with replacing(path) as temporary:
        temporary.write_bytes(jpeg(draw(scene, side, rng)))
    return path
