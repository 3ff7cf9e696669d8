"""Parameters whose exchanges are those of a published run, with towers that are small."""

from typing import Any

from cosmos.config.params import Params

PUBLISHED_RANKS = 32


def published_exchanges(batch_size: int = 4096, **sections: Any) -> Params:
    inline = {
        "embed_dim": 512,
        "vision": {"width": 16, "layers": 1, "head_width": 8, "patch_size": 16},
        "text": {"width": 16, "layers": 1, "heads": 2, "vocab_size": 64, "context_length": 12},
    }
    return Params.model_validate(
        {
            "model": {"inline": inline},
            "views": {"image_size": 32, "local_size": 16, "num_local_crops": 6, "num_captions": 8},
            "pretrain": {"batch_size": batch_size, **sections.pop("pretrain", {})},
            **sections,
        }
    )
