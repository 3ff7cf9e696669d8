"""Calls as jobs: on Slurm, as processes of their own on this machine, or in this process.

`once` submits a call unless that is done already, and waits: `submission` keeps the record of it, `clusters`
names where jobs run (`sbatch` and `slurm`; `local`), `task` is what runs inside a job, `outcome` what a job
leaves in its folder, and `watch` waits for that.
"""
