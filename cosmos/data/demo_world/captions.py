"""Scenes in words, in the form of DreamLIP's annotations. Everything said is true of the scene."""

from itertools import pairwise

import numpy as np

from cosmos.data.demo_world.scene import Object, Scene, pick, relation

NUMBERS = ("no", "one", "two", "three", "four")
MARKS = {"plain": "plain", "striped": "covered in stripes", "dotted": "covered in dots", "checked": "checked"}


def annotate(scene: Scene, rng: np.random.Generator) -> dict[str, list[str]]:
    """Raw, short and long captions: a list of sentences for each of DreamLIP's seven keys."""
    return {
        "raw_caption": [raw(scene, rng)],
        "shortIB_captions": [f"{opening(rng)} {listed([brief(o) for o in scene.objects])}"],
        "shortSV_captions": [related(scene)],
        "shortLLA_captions": [counted(scene, rng)],
        "longIB_captions": [counted(scene, rng), *(appearance(o, rng) for o in scene.objects)],
        "longSV_captions": [related(scene), *relations(scene), ground(scene, rng)],
        "longLLA_captions": [*(location(o, rng) for o in scene.objects), ground(scene, rng)],
    }


def full(item: Object) -> str:
    """The object with all its attributes: a small red striped circle."""
    return f"a {item.size} {brief(item).removeprefix('an ').removeprefix('a ')}"


def brief(item: Object) -> str:
    """The object without its size: an orange star, a red striped circle."""
    words = (
        f"{item.colour} {item.shape}"
        if item.texture == "plain"
        else f"{item.colour} {item.texture} {item.shape}"
    )
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def listed(words: list[str]) -> str:
    """One, two and three: `a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def raw(scene: Scene, rng: np.random.Generator) -> str:
    """One sentence that names every object, as a person would write it."""
    first, *others = scene.objects
    said = sentence_of_pair(scene) if others else f"{full(first)} in the {first.place}"
    rest = [full(o) for o in others[1:]]
    tail = f", with {listed(rest)}" if rest else ""
    return f"{said}{tail} on a {scene.background} background"


def sentence_of_pair(scene: Scene) -> str:
    """The first two objects and how they lie to each other."""
    first, second = scene.objects[:2]
    return f"{full(first)} {relation(first, second)} {full(second)}"


def related(scene: Scene) -> str:
    """How the first two objects lie to each other, or where the only one is."""
    if len(scene.objects) == 1:
        return f"{brief(scene.objects[0])} in the {scene.objects[0].place} of the image"
    return sentence_of_pair(scene)


def relations(scene: Scene) -> list[str]:
    """A sentence for each two neighbours in the scene's order."""
    said = "The {a.colour} {a.shape} is {words} the {b.colour} {b.shape}"
    return [said.format(a=a, b=b, words=relation(a, b)) for a, b in pairwise(scene.objects)]


def counted(scene: Scene, rng: np.random.Generator) -> str:
    """How many objects there are, and on what."""
    count = len(scene.objects)
    noun = pick(rng, ("shape", "object", "figure")) + ("" if count == 1 else "s")
    verb = "is" if count == 1 else "are"
    return f"There {verb} {NUMBERS[count]} {noun} on a {scene.background} background"


def appearance(item: Object, rng: np.random.Generator) -> str:
    """One object's size, colour and texture."""
    form = pick(
        rng,
        ("The {shape} is {size}, {colour} and {marks}", "A {size} {shape}, which is {colour} and {marks}"),
    )
    return form.format(shape=item.shape, size=item.size, colour=item.colour, marks=MARKS[item.texture])


def location(item: Object, rng: np.random.Generator) -> str:
    """One object and the half that it is in."""
    form = pick(
        rng, ("In the {place} there is {what}", "{what} lies in the {place}", "The {place} shows {what}")
    )
    return form.format(place=item.place, what=full(item))


def ground(scene: Scene, rng: np.random.Generator) -> str:
    """The background."""
    return f"{pick(rng, ('The background is', 'Behind them all is'))} {scene.background}"


def opening(rng: np.random.Generator) -> str:
    """How a short caption begins."""
    return pick(rng, ("A picture of", "An image with", "This shows", "A drawing of"))
