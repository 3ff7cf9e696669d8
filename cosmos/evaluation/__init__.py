"""Zero-shot evaluation: a suite's card opens a dataset, which takes an encoder and yields metrics by name.

Every suite is a folder with the same modules: `metrics` (figures from embeddings), `measure` (the dataset in
memory, and an encoder's figures on it), `layouts` (files on disk, read as that dataset), `sets` (the cards of
all its datasets) and, where there are many, `published_sets` (the cards of the published ones). `annotations`
of perception and `masks` of segmentation read the files that hold a dataset's right answers.

Cards need no torch, which `measure` imports: a dataset is found by the names of its files (`presence`).

All suites share `suite` (every suite by name), `card` (the forms of a card and of an opened dataset), `embed`
(an encoder's embeddings of a dataset, shared among ranks) with its `embedding_cache`, `images`,
`dataset_files` (checks of files, and classes of errors in reading them), `prompts` and `fingerprint`.
"""
