"""The classification suite: accuracies, datasets, published datasets, images in class folders."""
