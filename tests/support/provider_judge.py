"""Holds what the platform says of every message against what its provider wrote down.

The provider's log is the judge: it stands outside, and survived everything.  The platform is asked
for the state of each message, and of those in doubt for the instants of their claim and its loss.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cluster.egress.simulator.log import LogLine

# After these the provider says nothing, or too late.
UNANSWERED: Final = frozenset({"hang_before", "hang_after", "reset_before", "reset_after", "late"})
TIMED_OUT: Final = "no answer in time"  # as the connectors say it
_SKEW_US: Final = 500_000  # the clocks of two processes, and the time that a signal takes
ENDS: Final = frozenset({"sent", "failed", "uncertain"})


class Fault(NamedTuple):
    """What was done to an actor."""

    at_us: int
    until_us: int  # of a pause, its end; else the same
    kind: str
    how: str


class Doubt(NamedTuple):
    """An uncertain message: when it was claimed, and when its answer was given up."""

    claimed_at_us: int | None  # None: never
    lost_at_us: int
    detail: str


@dataclass(slots=True)
class Findings:
    """The ids of the messages that were treated as they must not be; empty lists are well."""

    lost: list[str] = field(default_factory=list)  # accepted, and at no end
    unknown: list[str] = field(default_factory=list)  # taken by the provider, and not of ours
    twice: list[str] = field(default_factory=list)
    sent_not_taken: list[str] = field(default_factory=list)
    failed_but_taken: list[str] = field(default_factory=list)
    doubted_without_cause: list[str] = field(default_factory=list)

    def told(self) -> dict[str, list[str]]:
        """Return those kinds that were found, with some of the messages of each."""
        kinds = {name: getattr(self, name) for name in self.__slots__}
        return {name: ids[:10] for name, ids in kinds.items() if ids}


def taken_by(log: Iterable[LogLine], protocol: str) -> Counter[str]:
    """Return how often the provider took each message.

    A mail server knows no keys: whatever it took is a delivery.
    """
    knows_keys = protocol == "http"
    return Counter(
        line.message_id
        for line in log
        if line.protocol == protocol and line.took and (line.was_new or not knows_keys)
    )


def in_doubt_by_provider(log: Iterable[LogLine], protocol: str) -> set[str]:
    """Return the messages whose last request the provider left without a timely answer."""
    last = {line.message_id: line.mode for line in log if line.protocol == protocol}
    return {id_ for id_, mode in last.items() if mode in UNANSWERED}


def judge(
    states: Mapping[str, str],
    log: Sequence[LogLine],
    *,
    protocol: str,
    count: int,
    doubts: Mapping[str, Doubt],
    faults: Sequence[Fault],
    answer_timeout_us: int,
) -> Findings:
    """Compare; `doubts` tells of those uncertain messages that the log does not explain.

    `count` were accepted.  An uncertain message has a cause if its provider kept silent, or if it
    was claimed when a fault happened and without outcome until then, or if its answer did not come
    in time and there was that much time.
    """
    taken = taken_by(log, protocol)
    silent = in_doubt_by_provider(log, protocol)
    found = Findings(
        lost=[id_ for id_, state in states.items() if state not in ENDS],
        unknown=[id_ for id_ in taken if id_ not in states],
        twice=[id_ for id_, times in taken.items() if times > 1],
        sent_not_taken=[i for i, state in states.items() if state == "sent" and not taken[i]],
        failed_but_taken=[i for i, state in states.items() if state == "failed" and taken[i]],
        doubted_without_cause=[
            id_
            for id_, state in states.items()
            if state == "uncertain"
            and id_ not in silent
            and not _has_cause(doubts.get(id_), faults, answer_timeout_us)
        ],
    )
    found.lost += ["(no such message)"] * (count - len(states))
    return found


def _has_cause(doubt: Doubt | None, faults: Iterable[Fault], answer_timeout_us: int) -> bool:
    if doubt is None or doubt.claimed_at_us is None:
        return False
    claimed_at, lost_at = doubt.claimed_at_us, doubt.lost_at_us
    is_timed_out = TIMED_OUT in doubt.detail and lost_at - claimed_at >= answer_timeout_us
    return is_timed_out or any(
        claimed_at - _SKEW_US <= fault.until_us and fault.at_us <= lost_at + _SKEW_US
        for fault in faults
    )
