"""The provider's log: on disk before the answer, and what a provider that died still knows."""

import asyncio
import os
from pathlib import Path

import pytest

from cluster.egress.simulator.log import LogLine, ProviderLog, read_log


def line(key: str, *, took: bool = True) -> LogLine:
    return LogLine(
        at_us=1,
        protocol="http",
        key=key,
        message_id=key,
        recipient="r",
        digest="d",
        mode="accept",
        took=took,
        was_new=took,
        seen_before=0,
    )


async def test_lines_are_synced_in_their_order_before_anybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fdatasync = os.fdatasync

    def count(file: int) -> None:
        synced.append(len(read_log(tmp_path / "log")))
        fdatasync(file)

    monkeypatch.setattr(os, "fdatasync", count)
    log = ProviderLog(tmp_path / "log")
    keys = [f"k{number}" for number in range(50)]
    await asyncio.gather(*(log.append(line(key)) for key in keys))
    assert [read.key for read in read_log(tmp_path / "log")] == keys
    assert synced[-1] == 50
    # Those that waited together were synced together.
    assert len(synced) < 10
    await log.close()


async def test_who_goes_away_while_waiting_is_written_all_the_same(tmp_path: Path) -> None:
    log = ProviderLog(tmp_path / "log")
    waiting = asyncio.create_task(log.append(line("k")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await log.close()
    assert [read.key for read in read_log(tmp_path / "log")] == ["k"]


async def test_a_provider_that_starts_again_knows_what_it_took(tmp_path: Path) -> None:
    log = ProviderLog(tmp_path / "log")
    await log.append(line("taken"))
    await log.append(line("refused", took=False))
    await log.close()
    with (tmp_path / "log").open("ab") as file:
        file.write(b'{"at_us": 1, "torn')
    again = ProviderLog(tmp_path / "log")
    assert again.taken == {"taken"}
    assert again.requests == {"taken": 1, "refused": 1}
    await again.append(line("next"))
    await again.close()
    assert [read.key for read in read_log(tmp_path / "log")] == ["taken", "refused", "next"]
