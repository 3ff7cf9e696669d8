"""Galleries of a report: what a model sees, where it fails, and what changed from another, on single samples.

`content` is what is shown; `pictures` are drawn small, as WebP in the page. The other modules choose samples
of a kind of answers and put them into words; `cosmos.report.gallery_sections` makes sections of them.
"""
