"""What runs: thin shells around the decisions of `pipeline`, on Ray, and the command line."""
