"""Models: CLIP's towers, cross-attention, student and teacher, their loss, and encoders for evaluation.

Also the published format of checkpoints, and the references by which commands name them.
"""
