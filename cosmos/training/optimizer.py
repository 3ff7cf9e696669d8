"""AdamW with the published rule for weight decay."""

import torch
from torch import nn

from cosmos.config.params import PretrainParams

UNDECAYED = ("bn", "ln", "bias", "logit_scale")
"""Parts of names of parameters that do not decay, as vectors and scalars do not (as published)."""


def has_weight_decay(name: str, parameter: nn.Parameter) -> bool:
    """Return True when weight decay applies to a parameter."""
    return parameter.ndim >= 2 and not any(part in name for part in UNDECAYED)


def make_optimizer(model: nn.Module, params: PretrainParams) -> torch.optim.AdamW:
    """Return AdamW over the parameters of `model` that are trained."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if has_weight_decay(name, p)]
    undecayed = [p for name, p in trained if not has_weight_decay(name, p)]
    groups = [
        {"params": undecayed, "weight_decay": 0.0},
        {"params": decayed, "weight_decay": params.weight_decay},
    ]
    betas = (params.beta1, params.beta2)
    return torch.optim.AdamW(groups, lr=params.learning_rate, betas=betas, eps=params.epsilon, fused=True)
