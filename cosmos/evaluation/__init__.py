"""Zero-shot evaluation: a suite's card opens a dataset, which takes an encoder and yields metrics by name.

Every suite is a folder with the same modules: `metrics` (figures from embeddings), `measure` (the dataset in
memory, and an encoder's figures on it), `layouts` (files on disk, read as that dataset), `sets` (the cards of
all its datasets) and, where there are many, `published_sets` (the cards of the published ones).
"""
