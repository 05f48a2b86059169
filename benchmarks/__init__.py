"""What the platform can do, measured: each module is one benchmark, run as `python -m`.

`result` prints what was measured in the one form that all of them share; `process_tree` counts the
CPU time of a command with every process it leaves behind.  `benchmarks/README.md` says how to run
them and how to read them.
"""
