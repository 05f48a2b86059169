"""The names of lanes, and the bands that keep apart what must not wait for each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lane_id import BANDS_PER_PRIORITY, LaneId, band_of


def test_bands_never_change_within_a_generation() -> None:
    tenants = ("acme", "default", "a", "b", "c", "d", "Tenant-9")
    assert [band_of(tenant=tenant, priority="bulk") for tenant in tenants] == [
        "bulk-1", "bulk-2", "bulk-7", "bulk-5", "bulk-3", "bulk-3", "bulk-3",
    ]  # fmt: skip


def test_a_tenants_bands_have_one_number() -> None:
    normal, bulk = (band_of(tenant="acme", priority=p) for p in ("normal", "bulk"))
    assert (normal, bulk) == ("normal-1", "bulk-1")


def test_what_is_urgent_is_not_divided() -> None:
    assert {band_of(tenant=tenant, priority="urgent") for tenant in "abcdef"} == {"urgent"}


def test_every_band_has_tenants() -> None:
    bands = {band_of(tenant=f"t{n}", priority="normal") for n in range(200)}
    assert bands == {f"normal-{k}" for k in range(BANDS_PER_PRIORITY)}


@given(
    st.integers(0, 10**9),
    st.from_regex(r"[A-Za-z0-9-]+", fullmatch=True),
    st.integers(0, 255),
    st.from_regex(r"[a-z0-9]+", fullmatch=True),
    st.sampled_from(["urgent", "normal-0", "bulk-7"]),
)
def test_a_name_leads_back_to_its_lane(
    generation: int, node: str, shard: int, channel: str, band: str
) -> None:
    lane = LaneId(generation, node, shard, channel, band)
    assert LaneId.parse(str(lane)) == lane
    assert "/" not in str(lane)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1.n1.0.sms",
        "1.n1.0.sms.slow",
        "1.n/1.0.sms.urgent",
        "1.n1.0.sms.urgent.x",
        "x.n1.0.sms.urgent",
        "1.n1.0.sms.urgent\n",
        "../1.n1.0.sms.urgent",
        "1.n1.0.sms.bulk-",
    ],
)
def test_another_text_is_no_lane(name: str) -> None:
    with pytest.raises(ValueError, match="not a lane's name"):
        LaneId.parse(name)
