"""The simulator as a process: its line of ports, its log on disk, and its end."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from cluster.egress.simulator.log import read_log
from pipeline.lifecycle import Event
from tests.support.mail_office import connector_to, hand_over, submitted


async def test_mail_goes_to_a_simulator_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "seen.jsonl"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cluster.egress.simulator"),
        *("--smtp", "0", "--http", "0", "--log", str(log), "--modes", "accept=1,refuse=1"),
        *("--bounces", str(tmp_path / "maildir"), "--seed", "7"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        ports = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        assert sorted(ports) == ["http", "smtp"]
        connector = connector_to(ports["smtp"])
        reports = await submitted(connector, hand_over([f"a{n}@b.example" for n in range(40)]))
        await connector.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    taken = {line.recipient: line.took for line in read_log(log)}
    assert [taken[f"a{n}@b.example"] for n in range(40)] == [
        event is Event.TAKE for event in reports.events
    ]
    assert set(reports.events) == {Event.TAKE, Event.REFUSE}


@pytest.mark.parametrize("arguments", [[], ["--http", "0", "--bounces", "x"]])
async def test_what_makes_no_sense_is_told(tmp_path: Path, arguments: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cluster.egress.simulator", "--log", str(tmp_path / "x")),
        *arguments,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert b"--smtp PORT" in told


async def test_who_hangs_up_in_the_middle_of_a_message_is_no_trouble(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cluster.egress.simulator", "--http", "0"),
        *("--log", str(tmp_path / "seen.jsonl")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        port = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))["http"]
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, told) == (0, b"")
