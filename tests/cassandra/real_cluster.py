"""A cluster that somebody else runs: SHARDPOST_CQL_HOSTS names it.

There is no front before it, so requests are broken where they are sent; what only a front sees, or
a server of one's own can suffer, is not tested there.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

from cluster.scylla.session import ScyllaSession
from pipeline.errors import StoreUnavailable, WriteUnknown
from tests.cassandra.front import Break, Rule

VARIABLE: Final = "SHARDPOST_CQL_HOSTS"


def named_hosts() -> list[str]:
    """Return the nodes of the cluster, none where tests start their own."""
    return [host.strip() for host in os.environ.get(VARIABLE, "").split(",") if host.strip()]


class SessionFaults:
    """Breaks what the sessions of this process send, as fronts do."""

    @contextmanager
    def breaking(self, rule: Rule) -> Iterator[Rule]:
        """Break requests by this rule meanwhile."""
        send = ScyllaSession._send

        async def broken(session: ScyllaSession, statement: Any, *words: Any, **named: Any) -> Any:
            if not rule.takes(statement.cql):
                return await send(session, statement, *words, **named)
            match rule.does:
                case Break.REFUSE:
                    raise StoreUnavailable(f"{statement.name}: refused by the test")
                case Break.CUT:
                    raise WriteUnknown(f"{statement.name}: cut by the test")
                case Break.LOSE | Break.DROP_ANSWER | Break.CUT_ANSWER:
                    await send(session, statement, *words, **named)
                    raise WriteUnknown(f"{statement.name}: its answer was lost by the test")
                case Break.DELAY:
                    await asyncio.sleep(rule.delay_s)
                case Break.TWICE:
                    await send(session, statement, *words, **named)
            return await send(session, statement, *words, **named)

        with patch.object(ScyllaSession, "_send", broken):
            yield rule
