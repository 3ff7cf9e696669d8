"""Training: the opening of a run, the loop over its steps (trainer), and the parts of both.

These are schedules, optimiser, step, progress, signals that ask to stop, and save and resume (checkpoint).
"""
