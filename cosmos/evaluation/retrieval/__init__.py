"""The retrieval suite: recalls and ranks from images to texts and back, and the datasets for them."""
