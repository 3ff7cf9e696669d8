"""params.yaml and machine.example.yaml describe every setting in the words of `--help`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cosmos.config.machine import Machine
from cosmos.config.params import Params

ROOT = Path(__file__).parents[2]


def descriptions(model: Any) -> Iterator[str]:
    """Yield the description of each setting of a section, and of the sections in it."""
    for field in model.model_fields.values():
        if field.description:
            yield " ".join(field.description.split())
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from descriptions(field.annotation)


@pytest.mark.parametrize(("file", "settings"), [("params.yaml", Params), ("machine.example.yaml", Machine)])
def test_comments_are_the_descriptions_of_settings(file: str, settings: type[BaseModel]) -> None:
    comments = " ".join((ROOT / file).read_text().replace("\n#", "\n").split())
    assert [text for text in descriptions(settings) if text not in comments] == []
