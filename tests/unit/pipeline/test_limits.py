from collections.abc import Mapping
from dataclasses import fields

import pytest

from pipeline.errors import SettingInvalid
from pipeline.instant import DurationMs
from pipeline.limits import Windows

_DEFAULT = Windows()


def windows(setting: Mapping[str, int]) -> Windows:
    return Windows(**{name: DurationMs(value) for name, value in setting.items()})


def test_the_defaults_are_those_of_the_design() -> None:
    assert (_DEFAULT.write_deadline_ms, _DEFAULT.clock_skew_ms_max) == (2_000, 500)
    assert (_DEFAULT.steal_after_ms, _DEFAULT.heartbeat_ms) == (10_000, 1_000)
    assert (_DEFAULT.claims_open_max, _DEFAULT.near_horizon_ms) == (512, 180_000)
    assert (_DEFAULT.timer_slice_ms, _DEFAULT.timer_lead_ms) == (60_000, 60_000)


def test_a_row_is_prompt_within_the_write_deadline_and_twice_the_skew() -> None:
    assert _DEFAULT.prompt_ms == 3_000
    assert Windows(write_deadline_ms=DurationMs(4_000)).prompt_ms == 5_000


def test_a_lane_reads_ahead_four_windows_of_claims() -> None:
    assert Windows(claims_open_max=100).read_ahead_rows_max == 400


@pytest.mark.parametrize("name", [field.name for field in fields(Windows)])
@pytest.mark.parametrize("value", [0, -1])
def test_every_window_is_greater_than_nothing(name: str, value: int) -> None:
    with pytest.raises(SettingInvalid, match=f"^{name} must be greater than 0"):
        windows({name: value})


# (what is set, what it breaks), each at the first value that breaks it; one less or more fits.
_BREAKING = [
    pytest.param({"near_horizon_ms": 122_499}, +1, "near_horizon_ms >= timer_slice_ms", id="H"),
    pytest.param({"steal_after_ms": 4_999}, +1, "steal_after_ms >= 5 x heartbeat_ms", id="D"),
    pytest.param(
        {"journal_ttl_ms": _DEFAULT.buffer_ttl_ms + _DEFAULT.near_horizon_ms},
        +1,
        "journal_ttl_ms > buffer_ttl_ms",
        id="journal outlives buffer",
    ),
    pytest.param(
        {"validity_ms_max": _DEFAULT.buffer_ttl_ms - _DEFAULT.near_horizon_ms},
        -1,
        "validity_ms_max [+] near_horizon_ms < buffer_ttl_ms",
        id="a message expires before its row",
    ),
    pytest.param(
        {"idem_ttl_ms": _DEFAULT.timeline_ttl_ms - 1},
        +1,
        "idem_ttl_ms >= timeline_ttl_ms",
        id="a key outlives what it led to",
    ),
    pytest.param(
        {"timeline_ttl_ms": _DEFAULT.messages_ttl_ms - 1},
        +1,
        "timeline_ttl_ms >= messages_ttl_ms",
        id="a timeline outlives its message",
    ),
    pytest.param(
        {"messages_ttl_ms": _DEFAULT.buffer_ttl_ms - 1},
        +1,
        "messages_ttl_ms >= buffer_ttl_ms",
        id="a body outlives its row",
    ),
    pytest.param({"claims_open_max": 1_025}, -1, "claims_open_max must be at most 1024", id="F"),
]


@pytest.mark.parametrize(("setting", "towards", "relation"), _BREAKING)
def test_windows_that_do_not_fit_together_are_refused_with_the_relation(
    setting: dict[str, int], towards: int, relation: str
) -> None:
    with pytest.raises(SettingInvalid, match=relation):
        windows(setting)
    ((name, value),) = setting.items()
    windows({name: value + towards})
