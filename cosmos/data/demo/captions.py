"""Scenes in words, in the form of DreamLIP's annotations. Everything said is true of the scene."""

from itertools import combinations

import numpy as np

from cosmos.data.demo.scene import Background, Object, Scene, pick, relation

NUMBERS = ("no", "one", "two", "three", "four")
NOUNS = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "diamond": ("diamond", "rhombus"),
    "star": ("star",),
    "cross": ("cross", "plus sign"),
    "ring": ("ring", "hoop"),
    "heart": ("heart",),
    "crescent": ("crescent", "moon"),
}
"""Words for each shape, the usual one first."""
SURFACES = {"plain": "plain", "striped": "striped", "dotted": "covered in dots", "checked": "checked"}


def annotate(scene: Scene, rng: np.random.Generator) -> dict[str, list[str]]:
    """Raw, short and long captions: a list of sentences for each of DreamLIP's seven keys.

    As in DreamLIP, one caption for each of the raw and short keys and several sentences for each long key.
    """
    objects = scene.objects
    return {
        "raw_caption": [raw(scene, rng)],
        "shortIB_captions": [f"{opening(rng)} {listed([brief(o) for o in objects])}"],
        "shortSV_captions": [arrangement(scene)],
        "shortLLA_captions": [counted(scene, rng)],
        "longIB_captions": [counted(scene, rng), *(appearance(o, rng) for o in objects)],
        "longSV_captions": [*(related(a, b, rng) for a, b in combinations(objects, 2)), *ending(scene, rng)],
        "longLLA_captions": [*(location(o, rng) for o in objects), ground(scene.background, rng)],
    }


def full(item: Object) -> str:
    """The object with all its attributes: a small red striped circle."""
    return f"a {item.size} {looks(item)} {item.shape}"


def brief(item: Object) -> str:
    """The object without its size: an orange star, a red striped circle."""
    return with_article(f"{looks(item)} {item.shape}")


def looks(item: Object) -> str:
    """Colour and texture; that an object is plain goes without saying."""
    return item.colour if item.texture == "plain" else f"{item.colour} {item.texture}"


def on(background: Background) -> str:
    """The background with its article: a cream background, a speckled pale blue background."""
    pattern = "" if background.pattern == "plain" else f"{background.pattern} "
    return f"a {pattern}{background.colour} background"


def with_article(words: str) -> str:
    """A or an before `words`."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def listed(words: list[str]) -> str:
    """One, two and three: `a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def arrangement(scene: Scene) -> str:
    """How the first two objects lie to each other, or where the only one is."""
    first, *others = scene.objects
    if not others:
        return f"{full(first)} in the {half(first)}"
    return f"{full(first)} {relation(first, others[0])} {full(others[0])}"


def raw(scene: Scene, rng: np.random.Generator) -> str:
    """One sentence that names every object with all its attributes, as a person would write it."""
    rest = [full(item) for item in scene.objects[2:]]
    tail = f"{pick(rng, (', with', ', along with'))} {listed(rest)}" if rest else ""
    said, base = arrangement(scene) + tail, on(scene.background)
    form = pick(rng, ("{said} on {base}", "{said}, drawn on {base}", "on {base}, {said}"))
    return form.format(said=said, base=base)


def opening(rng: np.random.Generator) -> str:
    """How a short caption begins."""
    return pick(rng, ("a picture of", "an image with", "this shows", "a drawing of"))


def counted(scene: Scene, rng: np.random.Generator) -> str:
    """How many objects there are, of which colours and shapes."""
    count = len(scene.objects)
    noun = pick(rng, ("shape", "object", "figure")) + ("" if count == 1 else "s")
    named = listed([with_article(f"{o.colour} {any_noun(o, rng)}") for o in scene.objects])
    return f"{NUMBERS[count].capitalize()} {noun}: {named}"


def any_noun(item: Object, rng: np.random.Generator) -> str:
    """A word for the object's shape."""
    return pick(rng, NOUNS[item.shape])


def appearance(item: Object, rng: np.random.Generator) -> str:
    """One object's size, colour and texture."""
    form = pick(
        rng,
        ("The {noun} is {size}, {colour} and {surface}", "A {size} {noun}, which is {colour} and {surface}"),
    )
    surface = SURFACES[item.texture]
    return form.format(noun=any_noun(item, rng), size=item.size, colour=item.colour, surface=surface)


def related(first: Object, second: Object, rng: np.random.Generator) -> str:
    """How two objects lie to each other."""
    verb = pick(rng, ("is", "lies", "can be seen"))
    words = relation(first, second)
    return f"The {first.colour} {first.shape} {verb} {words} the {second.colour} {second.shape}"


def ending(scene: Scene, rng: np.random.Generator) -> list[str]:
    """The arrangement once more, and the background."""
    return [arrangement(scene).capitalize(), ground(scene.background, rng)]


def location(item: Object, rng: np.random.Generator) -> str:
    """One object and the half that it is in."""
    form = pick(
        rng, ("In the {half} there is {what}", "There is {what} in the {half}", "The {half} shows {what}")
    )
    return form.format(half=half(item), what=full(item))


def half(item: Object) -> str:
    """The half of the image that the object is in."""
    return "upper half" if item.is_high else "lower half"


def ground(background: Background, rng: np.random.Generator) -> str:
    """The background."""
    return f"{pick(rng, ('All of this is on', 'The picture has', 'Behind it is'))} {on(background)}"
