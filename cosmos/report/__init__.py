"""Reports for people: result tables, loss curves, sheets of pictures, plots for Plotly, and the HTML page.

Beside them: `published`, the figures of the authors' checkpoints, and `text`, names and values as plain text.
"""
