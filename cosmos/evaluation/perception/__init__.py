"""The perception suite: SugarCrepe's hard negatives, pairs of MMVP-VLM and Winoground, and users' sets."""
