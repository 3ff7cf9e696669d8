"""The DVC pipeline: `dvc` runs it, `prepare` and `pretrain` fit these stages to it, `identity` holds the
parameters and code on which its stages depend, `directory` its paths, `report` its page; and `promote`, which
has DVC keep a run's model.
"""
