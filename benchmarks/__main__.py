"""Runs every benchmark, or those that are named: `python -m benchmarks [NAME...]`.

Each runs in a process of its own, so that none measures what another left behind.
"""

import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import benchmarks

# What the benchmarks are made of.
_PARTS: Final = frozenset({"__main__", "process_tree", "result", "running_platform"})


def names() -> list[str]:
    """Return the name of every benchmark."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(benchmarks.__path__)
        if module.name not in _PARTS and not module.ispkg
    )


def main(arguments: Sequence[str]) -> int:
    """Run the benchmarks; return 0 if all of them ended well."""
    known = names()
    if unknown := [name for name in arguments if name not in known]:
        print(f"no benchmark {unknown[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = []
    for name in arguments or known:
        print(f"# {name}", flush=True)
        if subprocess.run((sys.executable, "-m", f"benchmarks.{name}"), check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
