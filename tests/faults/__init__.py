"""Campaign of faults: files are damaged, processes killed, disks filled (docs/faults.md)."""
