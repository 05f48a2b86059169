"""The file connector: one JSON line for each hand-over, for other programs to read."""
