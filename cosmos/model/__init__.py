"""Models: CLIP's towers, cross-attention, student and teacher, loss, encoders for evaluation, checkpoints."""
