"""What a lane's own work costs: CPU time per message, without store and provider.

A lane is given doorbells and the rows behind them, and every answer at once: claim, hand over,
take, project, count, retire.  Once with everything from doorbells, once from rows alone.  The best
of several rounds counts, as on a shared machine the others measure the neighbours.

    python -m benchmarks.lane [MESSAGES]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from benchmarks.result import print_result
from pipeline.instant import Instant, earlier, later
from pipeline.lane import actions as act
from pipeline.lane.admission import Admission
from pipeline.lane.gate import ConnectorTerms, Gate
from pipeline.lane.lane import Lane
from pipeline.lane.recovery import Recovered
from pipeline.lane.suppressions import ListingTenants
from pipeline.lane_id import LaneId
from pipeline.later import CommandPage, TimerPage
from pipeline.lifecycle import Event
from pipeline.limits import Windows
from pipeline.message import (
    AT_ONCE,
    Body,
    BufferRow,
    MessageId,
    PartitionKey,
    Submission,
    encode_body,
    group_key,
)
from pipeline.outcome import Outcomes, ProviderClass
from pipeline.ports import BufferPage
from pipeline.route.connector_choice import ConnectorRoute
from pipeline.route.lease import PermitDesk
from pipeline.route.permits import LimitBook
from pipeline.route.retry_policy import RetryPolicy

_NOW: Final = Instant(1_790_000_000_000_000)
_WINDOWS: Final = Windows()
_BATCH: Final = 500
_ROUNDS: Final = 5
_GROUP: Final = group_key("acme", "spring")
_BODY: Final = Body(
    encode_body(
        Submission(
            tenant="acme",
            channel="sms",
            recipient="+10000000000",
            content="x" * 100,
            group="spring",
        )
    )
)


class _Platform:
    """Answers a lane at once, and knows its rows."""

    def __init__(self, ids: list[MessageId], *, tenants: Sequence[str]) -> None:
        self.now = _NOW
        self.rows: list[BufferRow] = []
        self.ids = ids
        self.tenants = tenants
        self.lists = ListingTenants()
        self.lane = Lane(
            Recovered(
                next_seq=0,
                offset=earlier(_NOW, _WINDOWS.prompt_ms),
                retired_through=-1,
                entries=[],
            ),
            windows=_WINDOWS,
            gate=Gate(
                "sms",
                [
                    ConnectorTerms(
                        route=ConnectorRoute(name="file", channels=frozenset({"sms"})),
                        provider_class=ProviderClass.NONE,
                    )
                ],
            ),
            admission=Admission(
                LaneId(1, "n1", 0, "sms", "bulk-0"), book=LimitBook(), desk=PermitDesk("one")
            ),
            lists=self.lists,
            retry_policy=RetryPolicy(),
            chance=Random(1),
            now=_NOW,
        )
        self._answers: dict[type, Callable[[Any], None]] = {
            act.ReadGroupOrders: lambda _: self.lane.decisions.on_orders([]),
            act.ReadCommands: lambda _: self.lane.decisions.on_commands(
                CommandPage([], None), through=self.now
            ),
            act.ReadRows: self._read_rows,
            act.ReadTimers: lambda _: self.lane.on_timers(TimerPage([], None)),
            act.ReadBodies: lambda a: self.lane.on_bodies(
                [id_ for _, id_ in a.keys], dict.fromkeys((id_ for _, id_ in a.keys), _BODY),
                now=self.now,
            ),
            act.ReadSuppressions: lambda a: self.lane.on_suppressions(
                dict.fromkeys(a.keys), now=self.now
            ),
            act.Append: lambda a: self.lane.on_applied(a.seq, now=self.now),
            act.HandOverWindow: lambda a: self.lane.on_outcomes(
                a.seq, Outcomes.all_alike(Event.TAKE, len(a.message_ids)), now=self.now
            ),
            act.Project: lambda _: self.lane.projection.on_projected(),
            act.ReadBooks: lambda _: self.lane.projection.on_books_read([]),
            act.WriteBooks: lambda _: self.lane.projection.on_books_written(),
        }  # fmt: skip

    def run(self, *, with_doorbells: bool) -> None:
        """Bring all messages, a batch every 10 ms, and let the lane come to rest."""
        for start in range(0, len(self.ids), _BATCH):
            ids = self.ids[start : start + _BATCH]
            keys = [PartitionKey(id_) for id_ in ids]
            self.now = later(self.now, 10)
            self.rows += [
                (Instant(self.now + n), id_, key, self.now, 1, AT_ONCE, _GROUP)
                for n, (id_, key) in enumerate(zip(ids, keys, strict=True))
            ]
            if with_doorbells:
                self.lane.on_doorbell(
                    message_ids=ids,
                    partition_keys=keys,
                    borns=[self.now] * len(ids),
                    groups=[_GROUP] * len(ids),
                    bodies=[_BODY] * len(ids),
                )
            self._work()
        while self.lane.claims.handed_over_count < len(self.ids):
            self.now = later(self.now, 250)
            self._work()
        for _ in range(40):
            self.now = later(self.now, 250)
            self._work()

    def _work(self) -> None:
        self.lists.on_read(self.tenants, as_of=self.now)
        while actions := self.lane.decide(self.now):
            for action in actions:
                self._answers[type(action)](action)

    def _read_rows(self, read: act.ReadRows) -> None:
        start = 0 if read.resume is None else int(read.resume)
        if read.resume is None:
            while start < len(self.rows) and self.rows[start][0] < read.from_at:
                start += 1
            del self.rows[:start]
            start = 0
        end = start + read.limit
        resume = str(end).encode() if end < len(self.rows) else None
        self.lane.on_rows(BufferPage(self.rows[start:end], resume), through=self.now)


def measure(count: int, *, with_doorbells: bool, tenants: Sequence[str] = ()) -> float:
    """Return microseconds of CPU time a message, of the best round."""
    best = float("inf")
    for _ in range(_ROUNDS):
        chance = Random(1)
        platform = _Platform(
            [MessageId(chance.randbytes(16)) for _ in range(count)], tenants=tenants
        )
        begun = time.process_time_ns()
        platform.run(with_doorbells=with_doorbells)
        best = min(best, (time.process_time_ns() - begun) / count / 1_000)
    return round(best, 3)


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", type=int, nargs="?", default=100_000, help="how many")
    count: int = parser.parse_args().messages
    print_result(
        "lane",
        {
            "messages": count,
            "doorbells_cpu_us_per_message": measure(count, with_doorbells=True),
            # The tenant has a list: every recipient is asked about.
            "listed_cpu_us_per_message": measure(count, with_doorbells=True, tenants=["acme"]),
            "rows_cpu_us_per_message": measure(count, with_doorbells=False),
        },
    )


if __name__ == "__main__":
    main()
