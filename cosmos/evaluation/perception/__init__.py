"""The perception suite: SugarCrepe, MMVP-VLM and Winoground, and sets of one's own in their formats."""
