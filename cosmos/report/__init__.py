"""Reports for people: result tables, loss charts, sheets of pictures, the page, the published figures."""
