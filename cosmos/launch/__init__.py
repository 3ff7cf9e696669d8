"""Calls as jobs: on Slurm, as processes of their own on this machine, or in this process.

`once` has `launch`, which submits a call unless that is done already, and waits. `submission` has the request
of a job and its record. `clusters` has the places where jobs run: `sbatch` submits to Slurm, `slurm` asks it
for states of jobs, and `local` starts processes of this machine. `task` runs inside a job. `outcome` has the
files that a job leaves in its folder, and `watch` waits for those and names the cause of a failure.
"""
