"""The rules of the house, which no test has to remember.

Under `tests/unit` and `tests/property` the world stands still: starting Ray, using a socket or
sleeping fails the test that does it.  Where CI is set, a skipped test is a failed one, as a
verdict that left something out is none.
"""

import asyncio
import gc
import os
import socket
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes tells how busy the machine is, and nothing of the code.
settings.register_profile(
    "any machine",
    settings.default,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

pytest_plugins = ("pytester",)


def pytest_collection_finish() -> None:
    """Take the thousands of collected tests out of every later look for garbage."""
    gc.collect()
    gc.freeze()


_TESTS = Path(__file__).resolve().parent
_STILL_FOLDERS = (_TESTS / "unit", _TESTS / "property")


def _refuse(what: str) -> NoReturn:
    # Not an Exception: what is tested may catch those.
    pytest.fail(f"{what} in a test of decisions: give it what the fake world says instead")


_asyncio_sleep = asyncio.sleep


async def _yield_to_others(seconds: float, result: object = None) -> object:
    if seconds > 0:
        _refuse("asyncio.sleep")
    return await _asyncio_sleep(0, result)


_start_process = subprocess.Popen.__init__


def _start_anything_but_ray(
    process: "subprocess.Popen[bytes]", command: Any, *more: Any, **named: Any
) -> None:
    # A command is a list, or one string or path.
    if "/ray/core/" in (" ".join(map(str, command)) if isinstance(command, list) else str(command)):
        _refuse("ray.init")
    _start_process(process, command, *more, **named)


@pytest.fixture(autouse=True)
def _the_world_stands_still(request: pytest.FixtureRequest) -> Iterator[None]:
    if not any(request.path.is_relative_to(folder) for folder in _STILL_FOLDERS):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda _seconds: _refuse("time.sleep"))
        patch.setattr(asyncio, "sleep", _yield_to_others)
        # Sockets can be made, as every event loop makes a pair for itself, and bound, as some
        # libraries do to see whether there is IPv6; they reach nothing and nobody reaches them.
        for name in ("listen", "connect", "connect_ex", "sendto"):
            patch.setattr(
                socket.socket, name, lambda *_arguments, name=name: _refuse(f"socket.{name}")
            )
        patch.setattr(socket, "getaddrinfo", lambda *_arguments, **_named: _refuse("a DNS look-up"))
        # Refused where Ray starts its first process, so that the many tests that have nothing to do
        # with Ray need not import it, which takes a second.
        patch.setattr(subprocess.Popen, "__init__", _start_anything_but_ray)
        yield


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where CI is set; an expected failure stays one."""
    report = yield
    if _is_ci() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where CI is set: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into an error where CI is set."""
    report = yield
    if _is_ci() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped where CI is set: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        _path, _line, reason = report.longrepr
        return reason.removeprefix("Skipped: ")
    return str(report.longrepr)
