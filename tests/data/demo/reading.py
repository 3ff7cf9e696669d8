"""What a caption says, read back from its words alone, and whether a scene bears it out."""

import re
from collections.abc import Iterable
from itertools import permutations

from cosmos.data.demo.captions import NOUNS
from cosmos.data.demo.scene import BACKGROUND_COLOURS, BACKGROUND_PATTERNS, COLOURS, TEXTURES, Object, Scene

SHAPE_OF = {word: shape for shape, words in NOUNS.items() for word in words}


def _any(words: Iterable[str]) -> str:
    return "|".join(words)


OBJECT = re.compile(
    rf"(?:(?P<size>small|large) )?(?P<colour>{_any(COLOURS)})(?: (?P<texture>{_any(TEXTURES)}))? "
    rf"(?P<noun>{_any(SHAPE_OF)})\b"
)
GROUND = re.compile(
    rf"(?:(?P<pattern>{_any(BACKGROUND_PATTERNS)}) )?(?P<colour>{_any(BACKGROUND_COLOURS)}) background"
)


def mentions(sentence: str) -> list[dict[str, str]]:
    """Size, colour, texture and shape of every object that the sentence names, as far as it gives them."""
    found = []
    for match in OBJECT.finditer(sentence.lower()):
        said = {key: value for key, value in match.groupdict().items() if value}
        noun = said.pop("noun")
        found.append({**said, "shape": SHAPE_OF[noun]})
    return found


def fits(item: Object, said: dict[str, str]) -> bool:
    return all(getattr(item, key) == value for key, value in said.items())


def lies(first: Object, words: str, second: Object) -> bool:
    """Whether the relation holds, from coordinates alone."""
    higher, beside = second.y - first.y > 0.15, abs(first.x - second.x) > 0.15
    lower = first.y - second.y > 0.15
    return {"above": higher, "below": lower, "next to": beside and not higher and not lower}[words]


def is_true(sentence: str, scene: Scene) -> bool:
    """Whether different objects of the scene are as the sentence says, where it says, on what it says."""
    said, text = mentions(sentence), sentence.lower()
    words = re.search(r"\b(above|below|next to)\b", text)
    half = re.search(r"\b(upper|lower) half\b", text)
    ground = GROUND.search(text)
    if ground and ground["colour"] != scene.background.colour:
        return False
    if ground and (ground["pattern"] or "plain") != scene.background.pattern:
        return False
    return any(
        all(fits(item, what) for item, what in zip(items, said, strict=True))
        and (not words or lies(items[0], words[1], items[1]))
        and (not half or (items[0].y < 0.5) == (half[1] == "upper"))
        for items in permutations(scene.objects, len(said))
    )
