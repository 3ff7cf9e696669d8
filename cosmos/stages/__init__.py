"""The stages that commands and pipelines run: the only place where the parts of the library meet."""
