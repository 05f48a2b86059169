"""The platform on a cluster, as its operator runs it, and providers whose log is the judge."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster.egress.simulator.log import read_log
from cluster.scylla.session import make_cluster
from cluster.scylla.settings import ScyllaSettings
from tests.support.both_providers import both_providers as both_providers
from tests.support.platform_process import eventually, shardpost
from tests.support.provider_judge import taken_by
from tests.support.sending import WORK_TIMEOUT_S, Sending

_LOOK_EVERY_S = 1.0

# Lanes are taken over soon, so that work goes on between the kills.
VARIABLES = {
    "SHARDPOST_WINDOWS__STEAL_AFTER_MS": "2500",
    "SHARDPOST_WINDOWS__HEARTBEAT_MS": "500",
    "SHARDPOST_DASHBOARD": "false",
}


def by_providers(ports: dict[str, int]) -> dict[str, str]:
    """Return the settings of a platform whose texts go out by webhook and mails by SMTP."""
    connector = "SHARDPOST_CONNECTORS__"
    return VARIABLES | {
        f"{connector}TEXTS__KIND": "webhook",
        f"{connector}TEXTS__CHANNELS": "sms",
        f"{connector}TEXTS__URL": f"http://127.0.0.1:{ports['http']}/messages",
        f"{connector}TEXTS__ALLOW_NETWORKS": "127.0.0.0/8",
        f"{connector}MAILS__KIND": "smtp",
        f"{connector}MAILS__CHANNELS": "email",
        f"{connector}MAILS__HOST": "127.0.0.1",
        f"{connector}MAILS__PORT": str(ports["smtp"]),
        f"{connector}MAILS__TLS": "none",
        f"{connector}MAILS__FROM_ADDRESS": "news@acme.example",
    }


def on_scylla(hosts: Sequence[str]) -> tuple[str, ...]:
    """Return what `shardpost up` is told."""
    return ("--store", "scylla", "--hosts", ",".join(hosts))


def make_schema(hosts: Sequence[str], keyspace: str, *, replication: int) -> None:
    """Do what an operator does once."""
    made = shardpost(
        *("schema", "init", "--hosts", ",".join(hosts), "--replication", str(replication)),
        SHARDPOST_SCYLLA__KEYSPACE=keyspace,
    )
    assert made.returncode == 0, made.stderr


def forget_keyspace(hosts: Sequence[str], keyspace: str) -> None:
    """Remove what another run, or this one, left behind."""
    cluster = make_cluster(ScyllaSettings(hosts=tuple(hosts)))
    try:
        cluster.connect().execute(f"DROP KEYSPACE IF EXISTS {keyspace}")
    finally:
        cluster.shutdown()


class Judged(Sending):
    """A group of one channel on its way, and what its provider wrote down of it."""

    def __init__(self, data: Path, log: Path, *, channel: str, count: int) -> None:
        super().__init__(data, channel=channel, count=count)
        self._log = log

    def taken(self) -> Counter[str]:
        """Return how often the provider took each message, by its own log."""
        return taken_by(read_log(self._log), self.protocol)

    def wait_until_taken(self, count: int) -> None:
        """Wait until the provider took so many."""

        def is_taken() -> bool:
            self.check_it_goes_on()
            return len(self.taken()) >= count

        eventually(f"{count} of {self.channel} are out", is_taken, seconds=WORK_TIMEOUT_S)

    def wait_until_over(self) -> dict[str, int]:
        """Wait until each has its end; return how many have which."""

        def over() -> dict[str, int] | None:
            states = self.counts()
            return states if states["sent"] + states["uncertain"] == self.count else None

        answer: dict[str, int] = eventually(
            f"{self.channel} comes to its end",
            over,
            seconds=WORK_TIMEOUT_S,
            every_s=_LOOK_EVERY_S,
        )
        return answer

    def judge(self, states: dict[str, int]) -> dict[str, Any]:
        """Return what the provider's log says against the books, and check that it is well."""
        taken = self.taken()
        told = {
            "channel": self.channel,
            "accepted": self.count,
            "taken": len(taken),
            "twice": sum(times > 1 for times in taken.values()),
            "sent": states["sent"],
            "uncertain": states["uncertain"],
            # Of those in doubt some were taken.
            "lost": max(0, self.count - states["uncertain"] - len(taken)),
        }
        print(json.dumps(told), flush=True)  # noqa: T201 -- the figures of the run
        assert (told["lost"], told["twice"]) == (0, 0)
        assert states["sent"] <= len(taken) <= self.count
        return told
