"""How an audit gets at what it judges."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from cluster.local.core_snapshot import CoreSnapshot

# Gives a core as it stands when it is called, None if nothing was ever written to it.
Look = Callable[[], AbstractContextManager[CoreSnapshot | None]]
