"""`python -m cluster.egress.simulator --http PORT --smtp PORT --log PATH --modes accept=9,late=1`.

Prints one line of JSON with the ports when it is ready (a port 0 is any that is free), and ends on
SIGTERM or Ctrl-C.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Protocol

from cluster.egress.simulator.http_provider import HttpProvider
from cluster.egress.simulator.log import ProviderLog
from cluster.egress.simulator.modes import Behaviour, Chooser, parse_behaviour
from cluster.egress.simulator.smtp_bounces import BounceWriter
from cluster.egress.simulator.smtp_provider import SmtpProvider


class Provider(Protocol):
    """A server of the simulator."""

    @property
    def name(self) -> str:
        """What its port is called in the line that says that it is ready."""
        ...

    async def start(self) -> int:
        """Listen, and return the port."""
        ...

    async def close(self) -> None:
        """Break off what is on its way."""
        ...


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m cluster.egress.simulator", description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT", help="listen for webhooks")
    parser.add_argument("--smtp", type=int, metavar="PORT", help="listen for mail")
    parser.add_argument(
        "--bounces", type=Path, metavar="FOLDER", help="a maildir for reports about mail"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--log", type=Path, required=True, metavar="PATH", help="what it saw")
    parser.add_argument(
        "--modes",
        type=_behaviour,
        default=Behaviour(),
        metavar="FILE|TEXT",
        help="a JSON file, or JSON, or weights like accept=9,hang_after=1",
    )
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    if asked.http is None and asked.smtp is None:
        parser.error("nothing to listen for: give --http PORT or --smtp PORT")
    if asked.bounces is not None and asked.smtp is None:
        parser.error("reports about mail need mail: give --smtp PORT")
    return asked


def _behaviour(text: str) -> Behaviour:
    # What is no JSON and no list of weights is the name of a file.
    try:
        return parse_behaviour(text)
    except ValueError as error:
        try:
            return parse_behaviour(Path(text).read_text(encoding="utf-8"))
        except OSError:
            raise argparse.ArgumentTypeError(str(error)) from None
        except ValueError as in_file:
            raise argparse.ArgumentTypeError(str(in_file)) from None


def _now_us() -> int:
    return time.time_ns() // 1_000


async def _run(asked: argparse.Namespace) -> None:
    log = ProviderLog(asked.log)
    chooser = Chooser(asked.modes, asked.seed)
    providers: list[Provider] = []
    if asked.http is not None:
        providers.append(
            HttpProvider(
                chooser=chooser,
                seed=asked.seed,
                log=log,
                host=asked.host,
                port=asked.http,
                now_us=_now_us,
            )
        )
    if asked.smtp is not None:
        providers.append(
            SmtpProvider(
                chooser=chooser,
                log=log,
                host=asked.host,
                port=asked.smtp,
                now_us=_now_us,
                bounces=None if asked.bounces is None else BounceWriter(asked.bounces),
            )
        )
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    ports = {provider.name: await provider.start() for provider in providers}
    print(json.dumps(ports), flush=True)
    await ended.wait()
    for provider in providers:
        await provider.close()
    await log.close()


if __name__ == "__main__":
    asyncio.run(_run(_arguments(sys.argv[1:])))
