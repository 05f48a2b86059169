"""What a meter says of its thread and its machine."""

import os
import time
from pathlib import Path

import pytest

from cluster.runtime.processor import ProcessorMeter, ProcessorUse

TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """The files of a machine, and its clocks."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stat, self.group = folder / "stat", folder / "group"
        self.group.mkdir()
        self.now_s = self.worked_s = self.idle_s = self.used_s = 0.0
        monkeypatch.setattr(time, "monotonic_ns", lambda: int(self.now_s * 1e9))
        monkeypatch.setattr(time, "thread_time_ns", lambda: int(self.worked_s * 1e9))
        self.meter = ProcessorMeter(stat=self.stat, group=self.group)

    def pass_s(self, seconds: float, *, worked: float, idle: float, used: float = 0) -> None:
        self.now_s += seconds
        self.worked_s += worked
        self.idle_s += idle
        self.used_s += used

    def limit(self, text: str) -> None:
        (self.group / "cpu.max").write_text(text)

    def measure(self) -> ProcessorUse:
        self.stat.write_text(f"cpu  1 2 3 {int(self.idle_s * TICKS)} 5\ncpu0 1 2 3 4 5\n")
        (self.group / "cpu.stat").write_text(f"usage_usec {int(self.used_s * 1e6)}\nuser_usec 1\n")
        return self.meter.measure()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_it_says_what_was_used_since_it_was_asked_last(machine: Machine) -> None:
    assert machine.measure() == ProcessorUse(busy=0, idle=0)
    machine.pass_s(2, worked=1, idle=3)
    assert machine.measure() == ProcessorUse(busy=500, idle=1_500)
    machine.pass_s(1, worked=1, idle=0)
    assert machine.measure() == ProcessorUse(busy=1_000, idle=0)
    assert machine.measure() == ProcessorUse(busy=0, idle=0)


@pytest.mark.parametrize(
    ("limit", "idle"),
    [
        pytest.param("200000 100000", 500, id="of two cores one and a half are used"),
        pytest.param("100000 100000", 0, id="more is used than allowed"),
        pytest.param("9900000 100000", 3_000, id="the machine has less left than is allowed"),
        pytest.param("max 100000", 3_000, id="no limit"),
        pytest.param("nonsense", 3_000, id="nothing that can be read"),
    ],
)
def test_a_limit_of_the_control_group_counts(machine: Machine, limit: str, idle: int) -> None:
    machine.limit(limit)
    machine.measure()
    machine.pass_s(1, worked=0, idle=3, used=1.5)
    assert machine.measure().idle == idle


def test_elsewhere_the_average_load_has_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    meter = ProcessorMeter(stat=tmp_path / "none", group=tmp_path)
    meter.measure()
    assert meter.measure().idle == 2_500
