"""What an error of the driver says of a request: certainly not done, or perhaps done.

The driver has three families of exceptions that do not know each other, and a connection that broke
is in none of those that it documents.  So nothing here is caught by family: whatever is not known
to be definite counts as unknown, which costs a repeat; the other mistake would cost a message.
"""

from enum import Enum

from cassandra import (
    AuthenticationFailed,
    RateLimitReached,
    RequestValidationException,
    Unavailable,
    UnresolvableContactPoints,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import IsBootstrappingErrorMessage

from pipeline.errors import StoreUnavailable, WriteUnknown


class Sends(Enum):
    """What a statement does, so how it is sent and what its errors mean."""

    READ = "read"
    SERIAL_READ = "serial read"
    WRITE = "write"
    CONDITIONAL = "conditional"  # LWT


_READS = (Sends.READ, Sends.SERIAL_READ)


def error_of(
    error: BaseException, *, sends: Sends, statement: str
) -> StoreUnavailable | WriteUnknown:
    """Return what the caller is to be told; to be raised `from` the driver's error."""
    told = f"{statement}: {_line(error)}"
    if sends in _READS or _is_definite(error, sends):
        return StoreUnavailable(told)
    return WriteUnknown(told)


def is_busy(error: BaseException) -> bool:
    """Return whether nothing was sent because connections were full: the same may be sent again."""
    match error:
        case ConnectionBusy():
            return True
        case NoHostAvailable(errors=errors):
            tried = list(errors.values() if isinstance(errors, dict) else errors)
            return bool(tried) and all(isinstance(each, ConnectionBusy) for each in tried)
        case _:
            return False


def _is_definite(error: BaseException, sends: Sends) -> bool:
    """Return whether a write was certainly not done."""
    match error:
        case RateLimitReached():
            # One replica may have taken what another refused; a subclass of what follows.
            return False
        case RequestValidationException() | AuthenticationFailed():
            return True
        case IsBootstrappingErrorMessage():
            return True
        case Unavailable():
            # Of a conditional write it may be told in a late round, after a proposal.
            return sends is Sends.WRITE
        case NoConnectionsAvailable() | ConnectionBusy() | UnresolvableContactPoints():
            return True
        case NoHostAvailable(errors=errors):
            tried = errors.values() if isinstance(errors, dict) else errors
            return all(_is_definite(each, sends) for each in tried)
        case _:
            # Time-outs, failures, overload, and connections that broke.
            return False


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
