"""From sources of image-caption pairs to batches of views: prepare, shards, crops, loader."""
