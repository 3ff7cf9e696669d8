"""Pretrain and evaluate COSMOS: cross-modality self-distillation for vision-language models."""

import sys

from cosmos.hidden_packages import HidingFinder

sys.meta_path.insert(0, HidingFinder)
