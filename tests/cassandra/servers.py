"""Apache Cassandra as small nodes on loopback addresses, from the jars of Maven Central.

Nothing is installed but a JDK and Maven: the jars lie in `.venv/cassandra` once they were fetched.
Every cluster has loopback addresses of its own, so that several run side by side on one machine.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.free_port import free_port

BACKEND_PORT: Final = 9142  # the front has the port that clients know

_HERE: Final = Path(__file__).resolve().parent
# Of the environment, so that a copy of the tree finds them, too.
_HOME: Final = Path(sys.prefix) / "cassandra"
_HEAP: Final = "384M"
_VNODES: Final = 16
_FETCH_S_MAX: Final = 300
_JAVA_VERSIONS: Final = ("11", "17")
_START_S_MAX: Final = 120
_LOOK_INTERVAL_S: Final = 0.1
# OPTIONS, and the opcode that its answer has.
_OPTIONS: Final = b"\x04\x00\x00\x00\x05\x00\x00\x00\x00"
_SUPPORTED: Final = b"\x06"


class ServersMissing(Exception):
    """Whoever runs the tests must install what the message names."""


class ServerDied(Exception):
    """The node ended, or does not answer; its log says why."""


def fetched_jars() -> Path:
    """Return the folder of Cassandra's jars, fetched if they are not there.

    Raises `ServersMissing` where Java or Maven are not installed, or nothing can be fetched.
    """
    if missing := [name for name in ("java", "mvn") if shutil.which(name) is None]:
        raise ServersMissing(
            f"{' and '.join(missing)} not found: install a JDK 17 and Maven"
            " (apt-get install openjdk-17-jdk-headless maven)"
        )
    if (version := _java_version()) not in _JAVA_VERSIONS:
        raise ServersMissing(f"Java is {version}, Cassandra wants 17: install a JDK 17")
    recipe = (_HERE / "pom.xml").read_text(encoding="utf-8")
    jars, stamp = _HOME / "lib", _HOME / "fetched.xml"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == recipe:
        return jars
    shutil.rmtree(jars, ignore_errors=True)
    jars.mkdir(parents=True)
    fetching = subprocess.run(
        [
            *("mvn", "-q", "-B", "-f", str(_HERE / "pom.xml"), "dependency:copy-dependencies"),
            *(f"-DoutputDirectory={jars}", "-DincludeScope=runtime"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_FETCH_S_MAX,
        check=False,
    )
    if fetching.returncode != 0:
        raise ServersMissing(f"Maven fetched no Cassandra: {fetching.stdout[-500:]}")
    stamp.write_text(recipe, encoding="utf-8")
    return jars


def _java_version() -> str:
    """Return the first number of Java's version, or what it says instead of one."""
    told = subprocess.run(
        ["java", "-version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    ).stdout
    found = re.search(r'version "(\d+)', told)
    return found[1] if found else told[:80]


@dataclass
class Server:
    """One node; `start` and `stop` may alternate."""

    folder: Path
    jars: Path
    address: str
    tokens: str
    seeds: str
    commitlog_sync: str
    security: str
    _process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        """Start the node and wait until it answers; raises `ServerDied`."""
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        """Start the node."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until the node answers; raises `ServerDied`."""
        began = time.monotonic()  # noqa: TID251 -- a real process is waited for
        while time.monotonic() - began < _START_S_MAX:  # noqa: TID251
            assert self._process is not None
            if self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(_LOOK_INTERVAL_S)  # noqa: TID251
        self.stop(signal.SIGKILL)
        log = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        raise ServerDied(f"Cassandra at {self.address} does not answer: {log[-2_000:]}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the node and wait until it has."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, BACKEND_PORT), timeout=1) as asked:
                asked.settimeout(2)
                asked.sendall(_OPTIONS)
                return asked.recv(9)[4:5] == _SUPPORTED
        except OSError:
            return False

    def _command(self) -> list[str]:
        text = (_HERE / "cassandra.yaml.in").read_text(encoding="utf-8")
        for word, value in {
            "ADDRESS": self.address,
            "DIR": str(self.folder),
            "TOKENS": self.tokens,
            "SEEDS": self.seeds,
            "PORT": str(BACKEND_PORT),
            "SYNC": self.commitlog_sync,
            "SECURITY": self.security,
        }.items():
            text = text.replace(f"@{word}@", value)
        config = self.folder / "cassandra.yaml"
        config.write_text(text, encoding="utf-8")
        settings = {
            "config": f"file://{config}",
            "storagedir": self.folder,
            "logdir": self.folder,
            "skip_wait_for_gossip_to_settle": 0,
            "ring_delay_ms": 1_000,
            "superuser_setup_delay_ms": 5_000,
            "gossip_settle_min_wait_ms": 0,
            "gossip_settle_poll_interval_ms": 100,
            "shutdown_announce_in_ms": 100,
            "consistent.rangemovement": "false",
            "system_distributed.default_rf": 1,
            "disable_tcactive_openssl": "true",
            "jmx.local.port": free_port(),
        }
        agent = next(self.jars.glob("jamm-*.jar"))
        return [
            *("java", f"-Xms{_HEAP}", f"-Xmx{_HEAP}", "-XX:TieredStopAtLevel=1"),
            *(f"@{_HERE / 'jvm.args'}", f"-javaagent:{agent}"),
            f"-Dlogback.configurationFile={_HERE / 'logback.xml'}",
            *(f"-Dcassandra.{name}={value}" for name, value in settings.items()),
            *("-Dcassandra-foreground=yes", "-cp", f"{self.folder}{os.pathsep}{self.jars}/*"),
            "org.apache.cassandra.service.CassandraDaemon",
        ]


# What a node does before it acknowledges a write: nothing yet, or wait for the disk with others.
SYNC_PERIODIC: Final = "periodic\ncommitlog_sync_period: 1000ms"
SYNC_GROUP: Final = "group\ncommitlog_sync_group_window: 5ms"


# Who may come in: everybody, or who has a password.
OPEN: Final = "authenticator: AllowAllAuthenticator\nauthorizer: AllowAllAuthorizer"
BY_PASSWORD: Final = "authenticator: PasswordAuthenticator\nauthorizer: CassandraAuthorizer"
# The role that a server makes for itself.
FIRST_USER: Final = "cassandra"
FIRST_PASSWORD: Final = "cassandra"


def make_cluster(
    folder: Path,
    *,
    node_count: int,
    commitlog_sync: str = SYNC_PERIODIC,
    security_of: Callable[[str], str] = lambda _address: OPEN,
) -> list[Server]:
    """Return the nodes of a cluster, not started; each owns an even share of the ring."""
    jars = fetched_jars()
    chance = random.SystemRandom()
    network = f"127.{chance.randrange(1, 255)}.{chance.randrange(1, 255)}"
    addresses = [f"{network}.{number + 1}" for number in range(node_count)]
    # All are seeds: any of them may start alone, or first.
    seeds = ",".join(f"{address}:7000" for address in addresses)
    step = 2**64 // (node_count * _VNODES)
    return [
        Server(
            folder=folder / address,
            jars=jars,
            address=address,
            tokens=",".join(
                str(-(2**63) + 7 + (vnode * node_count + number) * step) for vnode in range(_VNODES)
            ),
            seeds=seeds,
            commitlog_sync=commitlog_sync,
            security=security_of(address),
        )
        for number, address in enumerate(addresses)
    ]
