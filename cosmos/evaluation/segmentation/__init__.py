"""The segmentation suite: mIoU and pixel accuracy by kind of attention, and the datasets for them."""
