"""Tests of the rules that `tests/conftest.py` puts on every test."""

import asyncio
import importlib
import socket
import time

import pytest
from hypothesis import HealthCheck, settings

SKIPPING_TEST = """
import pytest

def test_that_runs():
    pass

@pytest.mark.skip(reason="needs the moon")
def test_that_is_skipped():
    pass

def test_that_skips_itself():
    pytest.skip("needs the tide")

@pytest.mark.xfail(reason="known", strict=True)
def test_expected_to_fail():
    assert False
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a small suite of its own, under the same rules."""
    monkeypatch.delenv("CI", raising=False)
    pytester.makeconftest(
        """
        import importlib
        rules = importlib.import_module("tests.conftest")
        pytest_runtest_makereport = rules.pytest_runtest_makereport
        pytest_make_collect_report = rules.pytest_make_collect_report
        """
    )
    return pytester


def test_sleeping_fails_the_test() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"time\.sleep"):
        time.sleep(0)  # noqa: TID251


def test_no_random_test_is_judged_by_how_long_it_takes() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


async def test_sleeping_beside_others_fails_it_too_but_letting_them_run_does_not() -> None:
    await asyncio.sleep(0)
    with pytest.raises(pytest.fail.Exception, match=r"asyncio\.sleep"):
        await asyncio.sleep(0.001)


def test_reaching_for_the_network_fails_the_test() -> None:
    with socket.socket() as unconnected:
        with pytest.raises(pytest.fail.Exception, match="connect"):
            unconnected.connect(("127.0.0.1", 9))
        with pytest.raises(pytest.fail.Exception, match="listen"):
            unconnected.listen()
    with pytest.raises(pytest.fail.Exception, match="DNS"):
        socket.getaddrinfo("localhost", 80)


async def test_a_stream_is_refused_too() -> None:
    with pytest.raises(pytest.fail.Exception):
        await asyncio.open_connection("127.0.0.1", 9)


def test_starting_ray_fails_the_test() -> None:
    ray = importlib.import_module("ray")
    with pytest.raises(pytest.fail.Exception, match=r"ray\.init"):
        ray.init(address="local")


def test_a_skip_is_a_skip_at_home(suite: pytest.Pytester) -> None:
    suite.makepyfile(SKIPPING_TEST)
    suite.runpytest_inprocess("-p", "no:asyncio").assert_outcomes(passed=1, skipped=2, xfailed=1)


def test_a_skip_is_a_failure_where_ci_is_set(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile(SKIPPING_TEST)
    result = suite.runpytest_inprocess("-p", "no:asyncio")
    result.assert_outcomes(passed=1, failed=1, errors=1, xfailed=1)
    result.stdout.fnmatch_lines(
        ["*where CI is set: needs the moon", "*where CI is set: needs the tide"]
    )


def test_a_skipped_module_is_an_error_where_ci_is_set(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile("import pytest; pytest.importorskip('no_such_module_here')")
    result = suite.runpytest_inprocess("-p", "no:asyncio")
    assert result.ret != 0
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*where CI is set: *no_such_module_here*"])
