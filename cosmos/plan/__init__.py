"""Plans: what a run takes, and that it fits, before it is submitted."""
