"""Student, teacher, cross-attention, loss, and the checkpoint format they are published in."""
