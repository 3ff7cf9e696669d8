"""Sources: image-caption pairs as they are published or collected, listed as the inputs of shards.

`openers` has a function for each value of `data.source`; the others read captions files, tables of captions
and img2dataset's output, and describe an input (`inputs`).
"""
