"""In processes of tests alone: looking at one message ends a scheduler, as a broken library would.

Python runs this in every process that has its folder on PYTHONPATH.  What a lane decodes bodies
with is replaced when its modules are loaded.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

PILL = b"a poisoned pill"
_REPLACED = {
    "pipeline.lane.bodyless": "decode_body",  # after a crash, when a body was read
    "pipeline.lane.window": "expiry_of",  # when a message is about to be claimed
}


def _deadly(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def look(body: bytes) -> Any:
        if PILL in body:
            os._exit(9)
        return decode(body)

    return look


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, name: str) -> None:
        self._loader = loader
        self._name = name

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        setattr(module, self._name, _deadly(getattr(module, self._name)))


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _REPLACED:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, _REPLACED[name])
        return spec


sys.meta_path.insert(0, _Finder())
