"""Data: image-caption pairs on their way from a source to batches of views.

Preparation opens a source (`sources`: captions files, tables of captions, folders, img2dataset's output, the
demo world; `existing_shards`) and writes or indexes its shards (`shard_tasks`), with a `manifest` per split.
Training reads samples back (`shards`, by an index; remote ones through copies), in an `order` that is a
function of the seed, draws crops of images and text, and collates batches (`loader`). Evaluation uses the
readers of captions files, the decoding of images and the tokenizer.
"""
