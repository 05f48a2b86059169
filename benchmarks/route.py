"""What a lane's decisions about the way cost: CPU time per message of a window.

Suppression keys and the look-up, send windows, the connector, permits, what the answers prove, and
when the deferred are tried again: each by itself and all together, as a lane asks them of a window
of 500.  The best of several rounds counts, as on a shared machine the others measure the
neighbours.

    python -m benchmarks.route [ROUNDS]
"""

import argparse
import time
from collections.abc import Callable
from hashlib import blake2b
from random import Random
from typing import Final

from benchmarks.result import print_result
from pipeline.ingest.send_window import OpenHours
from pipeline.ingest.time_zone import zone_name_of
from pipeline.instant import DurationMs, Instant
from pipeline.lifecycle import Event
from pipeline.message import MessageId
from pipeline.outcome import ProviderClass
from pipeline.route.connector_choice import ConnectorChoice, ConnectorRoute
from pipeline.route.destination import destination_of
from pipeline.route.lease import PermitDesk
from pipeline.route.limiter import Demand, Grant, Grants, KeyDemand, PermitDealer
from pipeline.route.permits import Limit, LimitBook
from pipeline.route.provider_class import judge
from pipeline.route.retry_policy import RetryPolicy
from pipeline.route.suppression import suppressed_positions, suppression_keys

_WINDOW: Final = 500
_REPEATS: Final = 40
_SEED: Final = 1
_NOW: Final = Instant(1_790_000_000_000_000)
_SECOND: Final = 1_000_000


def _best_us(work: Callable[[], object], rounds: int, count: int = _WINDOW) -> float:
    """Return the least CPU time of a round in microseconds for one of `count`."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.process_time_ns()
        for _ in range(_REPEATS):
            work()
        best = min(best, (time.process_time_ns() - begun) / count / _REPEATS / 1_000)
    return round(best, 4)


def measure(rounds: int) -> dict[str, float]:
    """Return microseconds of CPU time per message by decision."""
    chance = Random(_SEED)
    ids = [MessageId(blake2b(n.to_bytes(8), digest_size=16).digest()) for n in range(_WINDOW)]
    attempts = [1] * _WINDOW
    recipients = [f"+44790{chance.randrange(10**7):07}" for _ in ids]
    addresses = [f"a{n}@d{chance.randrange(200)}.example" for n in range(_WINDOW)]
    tenants = ["acme"] * _WINDOW
    listed = set(suppression_keys("sms", tenants[:9], recipients[:9]))
    one, two = (
        ConnectorChoice(
            "sms",
            [
                ConnectorRoute(name=name, channels=frozenset({"sms"}), weight=weight)
                for name, weight in weights
            ],
        )
        for weights in ([("a", 1)], [("a", 3), ("b", 1)])
    )
    hours = OpenHours(default_zone="Europe/Paris")
    window = "mon-fri 09:00-18:00; sat 10:00-14:00"
    events = bytes(chance.choice([Event.TAKE] * 9 + [Event.DEFER]) for _ in ids)
    policy = RetryPolicy()
    expires_at = [Instant(_NOW + 3 * 86_400 * _SECOND)] * _WINDOW
    everybody = {"a", "b"}

    def suppress() -> object:
        return suppressed_positions(suppression_keys("sms", tenants, recipients), listed)

    def windows() -> object:
        return [
            hours.opening(window, zone_name_of(to, explicit=None, default="UTC"), _NOW)
            for to in recipients
        ]

    def judged() -> object:
        return judge(
            events, provider_class=ProviderClass.NONE, has_receipts=False, may_have_copy=False
        )

    def retry(positions: range | list[int]) -> object:
        return policy.decide(
            positions,
            attempts=attempts,
            expires_at=expires_at,
            retry_after_ms={0: DurationMs(5_000)},
            now=_NOW,
            chance=chance,
        )

    deferred = [n for n, event in enumerate(events) if event == Event.DEFER]
    key = ("connector:a",)
    book = LimitBook(
        limits={"connector:a": Limit(concurrency=10**6), "destination:a|*": Limit(concurrency=99)}
    )

    def desk() -> PermitDesk:
        made = PermitDesk("s0", key)
        names = {*key, *(f"destination:a|d{n}.example" for n in range(200))}
        grant = Grant(None, False, 10**6, {})
        made.on_grants(Grants(1, 0, _NOW * 2, dict.fromkeys(names, grant)))
        return made

    desks = [desk(), desk()]

    def permits() -> object:
        desks[0].want("lane", "normal-1", {"connector:a": _WINDOW})
        admitted = desks[0].admit("lane", [key] * _WINDOW, _NOW)
        desks[0].done("connector:a", _WINDOW, taken=_WINDOW)
        return admitted

    def permits_by_destination() -> object:
        keys = [book.keys_of("a", sender="", destination=destination_of(to)) for to in addresses]
        wanted = {name: 3 for names in keys for name in names} | {"connector:a": _WINDOW}
        desks[1].want("lane", "normal-1", wanted)
        admitted = desks[1].admit("lane", keys, _NOW)
        for name in wanted:
            desks[1].done(name, _WINDOW, taken=_WINDOW)
        return admitted

    def everything() -> None:
        suppress()
        one.choose(ids, attempts, healthy=everybody)
        permits()
        judged()
        retry(deferred)

    return {
        "suppression_us": _best_us(suppress, rounds),
        "send_window_us": _best_us(windows, rounds),
        "one_connector_us": _best_us(lambda: one.choose(ids, attempts, healthy=everybody), rounds),
        "two_connectors_us": _best_us(lambda: two.choose(ids, attempts, healthy=everybody), rounds),
        "permits_us": _best_us(permits, rounds),
        "permits_by_destination_us": _best_us(permits_by_destination, rounds),
        "judge_us": _best_us(judged, rounds),
        "retry_us": _best_us(lambda: retry(range(_WINDOW)), rounds),
        "all_with_one_in_ten_deferred_us": _best_us(everything, rounds),
        "limiter_round_us": _round_us(rounds),
    }


def _round_us(rounds: int) -> float:
    """Return what half a second costs the limiter with eight schedulers and a limit of 1,000/s."""
    book = LimitBook(limits={"connector:a": Limit(rate_milli=1_000_000, burst=100)})
    dealer = PermitDealer(book, now=_NOW)
    flows = {"urgent": 10, **{f"normal-{n}": 2_000 for n in range(8)}}

    def deal() -> None:
        for n in range(8):
            dealer.ask(Demand(f"s{n}", 0, {"connector:a": KeyDemand(flows)}))
        dealer.decide()

    return _best_us(deal, rounds, count=1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=5, help="of which the best counts")
    print_result("route", measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
