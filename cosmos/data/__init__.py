"""Data: image-caption pairs on their way from a source to batches of views.

`preparation` opens a source (`sources/`: captions files, tables of captions, folders, the demo world) and
writes its pairs into shards, or indexes shards that exist (`shards/`), with a `manifest` for each split;
captions are brought into one schema (`captions`), and images verified. Training reads samples back in an
`order` that is a function of the seed, draws crops of images and text, and collates a `batch` (`loader`).
Evaluation uses the readers of captions files, the decoding of images (`image_decoding`) and the tokenizer.
"""
