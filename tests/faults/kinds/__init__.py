"""Kinds of faults, a module each: `attempt` meets a fault; AssertionError tells of a broken promise."""
