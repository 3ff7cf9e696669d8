"""Pretrain and evaluate COSMOS: cross-modality self-distillation for vision-language models."""

import atexit
import gc
import sys

from cosmos.hidden_packages import HidingFinder

sys.meta_path.insert(0, HidingFinder)
atexit.register(gc.freeze)  # or an ending process would look for garbage among all that it had imported
