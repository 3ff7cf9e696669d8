"""Schedules, optimiser, one step, save and resume, and the loop around them."""
