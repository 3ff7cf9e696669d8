"""The segmentation suite: mIoU from patch logits, with and without correlative self-attention; datasets."""
