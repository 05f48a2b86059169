"""What one provider refuses, or cannot take, another one gets; their own logs judge."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cluster.egress.simulator.log import read_log
from tests.support.both_providers import both_providers
from tests.support.office import Office
from tests.support.platform_process import PlatformProcess, eventually

MESSAGES = 60
SETTLED_WITHIN_S = 60.0
MODES = "accept=50,refuse=35,reset_after=15"


def variables(**ports: int) -> dict[str, str]:
    settings = {"SHARDPOST_DASHBOARD": "false"}
    for name, port in ports.items():
        connector = f"SHARDPOST_CONNECTORS__{name.upper()}__"
        settings |= {
            f"{connector}KIND": "webhook",
            f"{connector}URL": f"http://127.0.0.1:{port}/messages",
            f"{connector}ALLOW_NETWORKS": "127.0.0.0/8",
            # Of a lost answer nobody can tell anything: it must not go anywhere else.
            f"{connector}PROVIDER_CLASS": "0",
        }
    return settings | {
        "SHARDPOST_CONNECTORS__FIRST__CHANNELS": "sms",
        "SHARDPOST_CONNECTORS__FIRST__FALLBACK": "second",
        "SHARDPOST_CONNECTORS__SECOND__CHANNELS": "rcs",
    }


def written(path: Path, *, first: int) -> Path:
    lines = [f"+4477009{first + n:05d},hello {n}\n" for n in range(MESSAGES)]
    path.write_text("phone,text\n" + "".join(lines))
    return path


def modes_by_message(log: Path) -> dict[str, list[str]]:
    """What became of each message at a provider, request by request."""
    modes: dict[str, list[str]] = {}
    for line in read_log(log):
        modes.setdefault(line.key, []).append(line.mode)
    return modes


def taken(log: Path) -> Counter[str]:
    return Counter(line.key for line in read_log(log) if line.took)


def settled(office: Office, group: str) -> dict[str, Any]:
    """The books of the group, once all of it has an end."""

    def closed() -> Any:
        books = office.asked("group", group)
        return books if books["accepted"] == MESSAGES and not books["open"] else None

    return dict(eventually(f"{group} is settled", closed, seconds=SETTLED_WITHIN_S, every_s=0.3))


def test_each_message_is_taken_once_by_whichever_provider(tmp_path: Path) -> None:
    data, first_log, second_log = (tmp_path / name for name in ("data", "first", "second"))
    office = Office(data)
    with ExitStack() as until_the_end:
        second = until_the_end.enter_context(both_providers(second_log, seed=2, modes="accept=1"))
        with both_providers(first_log, seed=1, modes=MODES) as first:
            platform = until_the_end.enter_context(
                PlatformProcess(data, variables(first=first["http"], second=second["http"]))
            )
            office.asked("send", written(tmp_path / "a.csv", first=0), "--group", "refused")
            states = settled(office, "refused")["states"]
        asked, given = modes_by_message(first_log), taken(second_log)
        assert len(asked) == MESSAGES
        assert all(len(modes) == 1 for modes in asked.values()), "asked twice"
        outcome = Counter(modes[0] for modes in asked.values())
        assert set(outcome) == {"accept", "refuse", "reset_after"}, outcome
        # The fallback took all that was refused, and nothing of which an answer was lost.
        assert given == Counter(key for key, modes in asked.items() if modes == ["refuse"])
        assert states["uncertain"] == outcome["reset_after"]
        assert states["sent"] == MESSAGES - outcome["reset_after"]
        told = [
            (event["state"], event["detail"].partition(":")[0])
            for event in office.asked("trace", next(iter(given)))["events"]
        ]
        assert told[:3] == [
            ("claimed", "first"),
            ("waiting", "refused by first"),
            ("claimed", "second"),
        ]
        assert told[3][0] == "sent"

        # Nobody listens at the first one any more, which proves that it takes nothing.
        office.asked("send", written(tmp_path / "b.csv", first=500), "--group", "unreachable")
        assert settled(office, "unreachable")["states"]["sent"] == MESSAGES
        assert modes_by_message(first_log) == asked
        more = taken(second_log) - given
        assert len(more) == more.total() == MESSAGES
        assert not more.keys() & asked.keys()
        platform.stop()
    assert office.asked("audit")["findings_count"] == 0
