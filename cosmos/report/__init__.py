"""Reports for people: result tables, curves, sheets of pictures, plots for Plotly, pages and their sections.

Beside them: `published`, the figures of the authors' checkpoints, and `text`, names and values as plain text.
"""
