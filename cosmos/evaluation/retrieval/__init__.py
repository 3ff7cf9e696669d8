"""The retrieval suite: recalls from images to texts and back, and the datasets they are measured on."""
