"""Small datasets of the demo world for evaluation, laid out as published datasets of their suites are.

Retrieval has the split `heldout`. Classes are colours: a model that was trained for minutes recognises those,
but hardly any shape.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from cosmos.data.demo_world.captions import full_phrase
from cosmos.data.demo_world.drawing import draw_colour_mask, draw_scene, encode_jpeg
from cosmos.data.demo_world.scene import (
    BACKGROUNDS,
    COLOURS,
    Scene,
    change_attribute,
    make_scene,
    spatial_relation,
)
from cosmos.data.drawn_sets import (
    COMPLETE_FILE,
    DrawnSets,
    find_changed_file,
    hashes_of_sets,
    read_drawn_sets,
)
from cosmos.run.abandoned_files import remove_abandoned
from cosmos.run.files import replacing, write_json, write_text

NUM_SEGMENTED, NUM_PER_CLASS, NUM_PER_FILE = 100, 20, 200

OPPOSITE = {"above": "below", "below": "above"}


def write_all_sets(folder: Path, side: int, seed: int) -> None:
    """Write segmentation/, classification/ and perception/ into `folder`, unless that is done."""
    if are_sets_written(folder, side, seed):
        return
    write_segmentation(folder / "segmentation", side, seed)
    write_classification(folder / "classification", side, seed)
    write_perception(folder / "perception", side, seed)
    for place in {folder, *(path.parent for path in folder.rglob("*"))}:
        remove_abandoned(place)
    hashes = hashes_of_sets(folder)
    write_json(folder / COMPLETE_FILE, asdict(DrawnSets(side, seed, len(hashes), hashes)))


def are_sets_written(folder: Path, side: int, seed: int) -> bool:
    """Return True when all sets below `folder` were written for these values, and are whole."""
    drawn = read_drawn_sets(folder)
    return (
        drawn is not None
        and (drawn.image_size, drawn.seed) == (side, seed)
        and find_changed_file(folder) is None
    )


def write_segmentation(folder: Path, side: int, seed: int) -> None:
    """Write classes.txt (a class per line, synonyms after commas, background first), images/ and masks/."""
    write_text(
        folder / "classes.txt",
        "\n".join([", ".join(f"{b} background" for b in BACKGROUNDS), *COLOURS]) + "\n",
    )
    for i in range(NUM_SEGMENTED):
        rng = np.random.default_rng([seed, 2, i])
        scene = make_scene(rng)
        write_bytes(folder / "images" / f"{i:04d}.jpg", encode_jpeg(draw_scene(scene, side, rng)))
        (folder / "masks").mkdir(exist_ok=True)
        with replacing(folder / "masks" / f"{i:04d}.png") as temporary:
            draw_colour_mask(scene, side).save(temporary, "PNG")


def write_classification(folder: Path, side: int, seed: int) -> None:
    """Write <colour>/*.jpg: scenes of a single object."""
    counts = dict.fromkeys(COLOURS, 0)
    rng = np.random.default_rng([seed, 3])
    while min(counts.values()) < NUM_PER_CLASS:
        scene = make_scene(rng, num_objects=1)
        colour = scene.objects[0].colour
        if counts[colour] < NUM_PER_CLASS:
            write_bytes(
                folder / colour / f"{counts[colour]:04d}.jpg", encode_jpeg(draw_scene(scene, side, rng))
            )
            counts[colour] += 1


def write_perception(folder: Path, side: int, seed: int) -> None:
    """Write SugarCrepe's form: files of {id: {filename, caption, negative_caption}}, and images/."""
    kinds = {"replace_att": "colour", "replace_obj": "shape", "replace_rel": "relation"}
    for number, (name, kind) in enumerate(kinds.items()):
        items = {}
        for i in range(NUM_PER_FILE):
            rng = np.random.default_rng([seed, 4, number, i])
            scene = make_pair_scene(rng)
            caption, negative = caption_pair(scene, kind, rng)
            filename = f"{name}_{i:04d}.jpg"
            write_bytes(folder / "images" / filename, encode_jpeg(draw_scene(scene, side, rng)))
            items[str(i)] = {"filename": filename, "caption": caption, "negative_caption": negative}
        write_json(folder / f"{name}.json", items)


def make_pair_scene(rng: np.random.Generator) -> Scene:
    """Return a random scene of two objects, one above the other, that captions distinguish."""
    while True:
        scene = make_scene(rng, num_objects=2)
        first, second = scene.objects
        if first.is_high != second.is_high and full_phrase(first) != full_phrase(second):
            return scene


def caption_pair(scene: Scene, kind: str, rng: np.random.Generator) -> tuple[str, str]:
    """Return a caption of two objects, and a false one that differs in one colour, shape or relation."""
    first, second = scene.objects
    relation = spatial_relation(first, second)
    true = f"{full_phrase(first)} {relation} {full_phrase(second)}"
    if kind == "relation":
        return true, f"{full_phrase(first)} {OPPOSITE[relation]} {full_phrase(second)}"
    first, second = change_attribute(rng, scene, kind).objects
    return true, f"{full_phrase(first)} {relation} {full_phrase(second)}"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
