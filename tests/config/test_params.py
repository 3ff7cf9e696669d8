from typing import Any

import pytest
import yaml

from cosmos.config.experiment import merge_sections
from cosmos.config.identity import describe_changes, params_fingerprint
from cosmos.config.params import Params


@pytest.mark.parametrize("section", ["data", "views", "model", "loss", "pretrain", "evaluate"])
def test_every_knob_is_described(section: str) -> None:
    def undescribed(model: Any, prefix: str) -> list[str]:
        missing = []
        for name, field in model.model_fields.items():
            missing += [] if field.description else [prefix + name]
            if hasattr(field.annotation, "model_fields"):
                missing += undescribed(field.annotation, f"{prefix}{name}.")
        return missing

    assert undescribed(Params.model_fields[section].annotation, f"{section}.") == []


def test_the_fingerprint_tells_pretrainings_apart_and_leaves_evaluation_out() -> None:
    base = Params()
    other = Params.model_validate(merge_sections(base.model_dump(), {"loss": {"distill_weight": 0.5}}))
    evaluated = Params.model_validate(
        merge_sections(base.model_dump(), {"evaluate": {"models": ["teacher"]}})
    )
    assert params_fingerprint(base) != params_fingerprint(other)
    assert params_fingerprint(base) == params_fingerprint(evaluated)
    assert describe_changes(base, other) == ["loss.distill_weight: 1.0 -> 0.5"]


def test_yaml_survives_a_round_trip() -> None:
    dumped = yaml.safe_dump(Params().model_dump(mode="json"))
    assert Params.model_validate(yaml.safe_load(dumped)) == Params()
