"""A core of ScyllaDB for an audit."""

from contextlib import AbstractAsyncContextManager

from actors.cli.audit.look import Look
from cluster.topology.generation import Core
from pipeline.errors import InputInvalid


def viewing(core: Core) -> AbstractAsyncContextManager[Look]:
    """Refuse: what an audit compares is read from the files of an embedded store so far."""
    raise InputInvalid(
        f"audit reads embedded stores so far, and {core.node}/{core.shard} is on ScyllaDB: compare"
        " `shardpost group` with what the provider says"
    )
