"""Stage calls as jobs: on Slurm, as processes of their own on this machine, or in this process."""
