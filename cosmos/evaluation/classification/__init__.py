"""The classification suite: top-1, top-5 and mean per class accuracy, and the datasets for them."""
