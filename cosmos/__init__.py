"""Pretrain and evaluate COSMOS: cross-modality self-distillation for vision-language models."""
