"""Stages that commands and pipelines run, and how each becomes a job: the parts of the library meet here.

`prepare`, `pretrain`, `evaluate` and `export` do the work, in the process that calls them. `pretrain_job` and
`evaluate_job` run a stage where the machine says, `evaluate_sweep` measures many checkpoints, and `jobs`
lists, follows and cancels the jobs of runs. `datasets` and `experiments` list what can be measured and
trained. `evaluated_checkpoint` and `evaluation_result` hold what `evaluate` takes and returns.
"""
