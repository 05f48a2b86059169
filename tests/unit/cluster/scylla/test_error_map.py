"""Which of the driver's errors say that a write was certainly not done."""

import pytest
from cassandra import (
    AuthenticationFailed,
    InvalidRequest,
    OperationTimedOut,
    OperationType,
    RateLimitReached,
    ReadTimeout,
    Unauthorized,
    Unavailable,
    WriteFailure,
    WriteTimeout,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy, ConnectionException, ConnectionShutdown
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import (
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ServerError,
    TruncateError,
)

from cluster.scylla.error_map import Sends, error_of
from pipeline.errors import StoreUnavailable, WriteUnknown

DEFINITE = [
    InvalidRequest("no such column"),
    Unauthorized("not yours"),
    AuthenticationFailed("who are you"),
    IsBootstrappingErrorMessage(0x1002, "not yet", None),
    NoConnectionsAvailable("all are busy"),
    ConnectionBusy("busy"),
    NoHostAvailable("nobody is up", {}),
    NoHostAvailable("all are busy", {"a": ConnectionBusy(), "b": NoConnectionsAvailable()}),
]
UNKNOWN = [
    WriteTimeout("late", write_type=0),
    WriteFailure("one said no"),
    OperationTimedOut(),
    ReadTimeout("in the first round of a conditional write"),
    OverloadedErrorMessage(0x1001, "busy", None),
    ServerError(0x0000, "a bug", None),
    TruncateError(0x1003, "odd", None),
    RateLimitReached(op_type=OperationType.Write),
    ConnectionShutdown("the server went away"),
    ConnectionException("the connection broke"),
    NoHostAvailable("who knows", {"a": ConnectionBusy(), "b": OperationTimedOut()}),
    NoHostAvailable("who knows", {"a": ConnectionShutdown("gone")}),
    OSError("reset"),
    AttributeError("a bug of the driver"),
]


def name_of(error: BaseException) -> str:
    return f"{type(error).__name__}-{error}"[:40]


@pytest.mark.parametrize("sends", [Sends.WRITE, Sends.CONDITIONAL])
@pytest.mark.parametrize("error", DEFINITE, ids=name_of)
def test_what_was_never_begun_is_definite(error: BaseException, sends: Sends) -> None:
    assert isinstance(error_of(error, sends=sends, statement="put"), StoreUnavailable)


@pytest.mark.parametrize("sends", [Sends.WRITE, Sends.CONDITIONAL])
@pytest.mark.parametrize("error", UNKNOWN, ids=name_of)
def test_whatever_may_have_been_done_is_unknown(error: BaseException, sends: Sends) -> None:
    assert isinstance(error_of(error, sends=sends, statement="put"), WriteUnknown)


def test_too_few_replicas_are_definite_but_for_a_conditional_write_that_may_have_begun() -> None:
    error = Unavailable("two are down")
    plain = error_of(error, sends=Sends.WRITE, statement="put")
    conditional = error_of(error, sends=Sends.CONDITIONAL, statement="put")
    assert isinstance(plain, StoreUnavailable)
    assert isinstance(conditional, WriteUnknown)


@pytest.mark.parametrize("sends", [Sends.READ, Sends.SERIAL_READ])
@pytest.mark.parametrize("error", [*DEFINITE, *UNKNOWN], ids=name_of)
def test_a_read_that_failed_has_written_nothing(error: BaseException, sends: Sends) -> None:
    assert isinstance(error_of(error, sends=sends, statement="get"), StoreUnavailable)


def test_the_line_names_the_statement_and_what_the_server_said() -> None:
    error = error_of(OSError("reset\nby peer"), sends=Sends.WRITE, statement="append_entry")
    assert str(error) == "append_entry: OSError: reset by peer"
