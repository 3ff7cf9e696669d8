"""Exit statuses that say more than that a command failed, as sysexits.h has them."""

EXIT_IO_ERROR = 74
"""A disk or the network failed: the same command may succeed later."""
EXIT_INTERRUPTED = 75
"""A run was asked to stop and can go on: the same command continues."""
