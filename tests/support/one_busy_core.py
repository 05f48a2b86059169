"""A connector with a rate, schedulers on four cores, and all the work on one of them."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cluster.egress.simulator.log import LogLine, read_log
from cluster.local.data_folder import DataFolder
from pipeline.ingest.ids import keyed_id
from tests.support.both_providers import both_providers
from tests.support.platform_process import PlatformProcess, eventually, shardpost

_SECOND_US: Final = 1_000_000
_OPTIONS: Final = ("--channel", "sms", "--tenant", "acme", "--key", "key", "--json")
_CONNECTOR: Final = "SHARDPOST_CONNECTORS__TEXTS__"


class Seen(NamedTuple):
    """What the provider's log says of the messages of the busy core."""

    messages: int
    twice_count: int
    lanes_count: int  # of all lanes that anything came from
    in_a_second_max: int  # wherever the second begins
    in_three_seconds_max: int
    in_a_second_mean: float  # from the first to the last, the first and the last second left out


def send_by_one_core(folder: Path, *, count: int, rate: int, burst: int, timeout_s: float) -> Seen:
    """Run a provider and a platform in a folder, and send."""
    log, data = folder / "provider.jsonl", folder / "data"
    with both_providers(log, seed=0, modes="accept=1") as ports:
        variables = {
            "SHARDPOST_DASHBOARD": "false",
            f"{_CONNECTOR}KIND": "webhook",
            f"{_CONNECTOR}CHANNELS": "sms",
            f"{_CONNECTOR}URL": f"http://127.0.0.1:{ports['http']}/messages",
            f"{_CONNECTOR}ALLOW_NETWORKS": "127.0.0.0/8",
            f"{_CONNECTOR}RATE": str(rate),
            f"{_CONNECTOR}BURST": str(burst),
        }
        with PlatformProcess(data, variables) as platform:
            generation = DataFolder.open(data).generation
            keys_of: dict[object, list[str]] = {core: [] for core in generation.cores}
            number = 0
            while min(map(len, keys_of.values())) < count:
                key = f"order {number}"
                core = generation.core_of(keyed_id(tenant="acme", key=key.encode()))
                keys_of[core].append(key)
                number += 1
            busy, *_ = generation.cores
            openers = [keys_of[core][count - 1] for core in generation.cores]
            keys = keys_of[busy][: count - 1]
            for group, part in (("openers", openers), ("busy", keys)):
                file = folder / f"{group}.csv"
                file.write_text("to,text,key\n" + "".join(f"+447700900001,x,{k}\n" for k in part))
                sent = shardpost(
                    "send", str(file), *_OPTIONS, "--group", group, "--data", str(data), **variables
                )
                assert sent.returncode == 0, sent.stderr
                _wait_for(log, len(openers) + (len(keys) if part is keys else 0), timeout_s)
            platform.stop()
    mine = {keyed_id(tenant="acme", key=key.encode()).hex() for key in keys}
    lines = read_log(log)
    lanes = {generation.core_of(bytes.fromhex(line.message_id)) for line in lines}
    return _judge([line for line in lines if line.message_id in mine], lines, len(lanes))


def _wait_for(log: Path, count: int, timeout_s: float) -> None:
    eventually(f"{count} arrive", lambda: len(read_log(log)) >= count, seconds=timeout_s)


def _judge(mine: Sequence[LogLine], lines: Sequence[LogLine], lanes_count: int) -> Seen:
    times = sorted(line.at_us for line in lines)
    busy = sorted(line.at_us for line in mine)
    start, end = busy[0] + _SECOND_US, busy[-1] - _SECOND_US
    inside = bisect_left(busy, end) - bisect_left(busy, start)
    return Seen(
        messages=len(mine),
        twice_count=sum(n - 1 for n in Counter(line.message_id for line in lines).values()),
        lanes_count=lanes_count,
        in_a_second_max=_most_within(times, _SECOND_US),
        in_three_seconds_max=_most_within(times, 3 * _SECOND_US),
        in_a_second_mean=round(inside * _SECOND_US / (end - start), 2),
    )


def _most_within(times: Sequence[int], span_us: int) -> int:
    return max(n - bisect_left(times, at - span_us + 1) + 1 for n, at in enumerate(times))
