"""Captions of scenes, in the form of DreamLIP's annotations; each is true of its scene."""

from itertools import pairwise

import numpy as np

from cosmos.data.demo_world.scene import Scene, SceneObject, choose_value, spatial_relation

NUMBERS = ("no", "one", "two", "three", "four")
TEXTURE_PHRASES = {
    "plain": "plain",
    "striped": "covered in stripes",
    "dotted": "covered in dots",
    "checked": "checked",
}


def describe_scene(scene: Scene, rng: np.random.Generator) -> dict[str, list[str]]:
    """Return raw, short and long captions: a list of sentences for each of DreamLIP's seven keys."""
    return {
        "raw_caption": [raw_sentence(scene, rng)],
        "shortIB_captions": [
            f"{choose_opening(rng)} {join_phrases([brief_phrase(o) for o in scene.objects])}"
        ],
        "shortSV_captions": [main_sentence(scene)],
        "shortLLA_captions": [count_sentence(scene, rng)],
        "longIB_captions": [
            count_sentence(scene, rng),
            *(appearance_sentence(o, rng) for o in scene.objects),
        ],
        "longSV_captions": [
            main_sentence(scene),
            *relation_sentences(scene),
            background_sentence(scene, rng),
        ],
        "longLLA_captions": [
            *(location_sentence(o, rng) for o in scene.objects),
            background_sentence(scene, rng),
        ],
    }


def full_phrase(item: SceneObject) -> str:
    """Return the object with all its attributes: a small red striped circle."""
    return f"a {item.size} {brief_phrase(item).removeprefix('an ').removeprefix('a ')}"


def brief_phrase(item: SceneObject) -> str:
    """Return the object without its size: an orange star, a red striped circle."""
    texture = "" if item.texture == "plain" else f"{item.texture} "
    return f"{'an' if item.colour[0] in 'aeiou' else 'a'} {item.colour} {texture}{item.shape}"


def join_phrases(phrases: list[str]) -> str:
    """Join one, two or more phrases: `a`, `a and b`, `a, b and c`."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def raw_sentence(scene: Scene, rng: np.random.Generator) -> str:
    """Return a sentence that names every object, as a person would write it."""
    first, *others = scene.objects
    beginning = pair_sentence(scene) if others else f"{full_phrase(first)} in the {first.place}"
    rest = [full_phrase(o) for o in others[1:]]
    tail = f", with {join_phrases(rest)}" if rest else ""
    return f"{beginning}{tail} on a {scene.background} background"


def pair_sentence(scene: Scene) -> str:
    """Return a sentence of the first two objects and their spatial relation."""
    first, second = scene.objects[:2]
    return f"{full_phrase(first)} {spatial_relation(first, second)} {full_phrase(second)}"


def main_sentence(scene: Scene) -> str:
    """Return a sentence of the first two objects' spatial relation, or of the place of the only object."""
    if len(scene.objects) == 1:
        return f"{brief_phrase(scene.objects[0])} in the {scene.objects[0].place} of the image"
    return pair_sentence(scene)


def relation_sentences(scene: Scene) -> list[str]:
    """Return a sentence of the spatial relation of each two neighbours in the scene's order."""
    form = "The {a.colour} {a.shape} is {relation} the {b.colour} {b.shape}"
    return [form.format(a=a, b=b, relation=spatial_relation(a, b)) for a, b in pairwise(scene.objects)]


def count_sentence(scene: Scene, rng: np.random.Generator) -> str:
    """Return a sentence of the number of objects and the background."""
    count = len(scene.objects)
    noun = choose_value(rng, ("shape", "object", "figure")) + ("" if count == 1 else "s")
    verb = "is" if count == 1 else "are"
    return f"There {verb} {NUMBERS[count]} {noun} on a {scene.background} background"


def appearance_sentence(item: SceneObject, rng: np.random.Generator) -> str:
    """Return a sentence of an object's size, colour and texture."""
    form = choose_value(
        rng,
        ("The {shape} is {size}, {colour} and {marks}", "A {size} {shape}, which is {colour} and {marks}"),
    )
    return form.format(
        shape=item.shape, size=item.size, colour=item.colour, marks=TEXTURE_PHRASES[item.texture]
    )


def location_sentence(item: SceneObject, rng: np.random.Generator) -> str:
    """Return a sentence of an object and the half of the image that it is in."""
    form = choose_value(
        rng, ("In the {place} there is {item}", "{item} lies in the {place}", "The {place} shows {item}")
    )
    return form.format(place=item.place, item=full_phrase(item))


def background_sentence(scene: Scene, rng: np.random.Generator) -> str:
    """Return a sentence of the background."""
    return f"{choose_value(rng, ('The background is', 'Behind them all is'))} {scene.background}"


def choose_opening(rng: np.random.Generator) -> str:
    """Return a random beginning of a short caption."""
    return choose_value(rng, ("A picture of", "An image with", "This shows", "A drawing of"))
