"""Records of runs: read from run directories, indexed, filtered, listed and exported."""
