"""The sums that `make chaos` prints."""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools import chaos

ROUND = {
    "seconds": 90,
    "faults": {"SIGKILL to a Scheduler": 3, "SIGSTOP to a Registry": 1},
    "sms": {"sent": 90, "failed": 10, "requests": 130},
    "email": {"sent": 70, "failed": 10, "uncertain": 20, "requests": 125},
    "lost": 0,
    "twice": 0,
}


def test_rounds_are_summed_up() -> None:
    other = ROUND | {"faults": {"SIGKILL to a Scheduler": 2}, "lost": 2, "twice": 1}
    total = chaos.total_of([ROUND, other])
    assert total["rounds"] == 2
    assert total["minutes"] == 3
    assert total["faults"] == 6
    assert total["faults by kind"] == {"SIGKILL to a Scheduler": 5, "SIGSTOP to a Registry": 1}
    assert total["messages"] == 400
    assert total["uncertain"] == 40
    assert (total["lost"], total["twice"]) == (2, 1)
    assert total["email"]["requests"] == 250


@pytest.mark.parametrize(("failing_round", "rounds", "status"), [(None, 3, 0), (2, 2, 1)])
def test_rounds_go_on_until_the_time_is_over_or_one_fails(
    failing_round: int | None,
    rounds: int,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = iter([0, 10, 50, 70, 190])  # at the begin, and before each round
    environments: list[dict[str, str]] = []

    def run_round(_words: object, *, env: dict[str, str], **_more: Any) -> SimpleNamespace:
        environments.append(env)
        with Path(env["SHARDPOST_CHAOS_FIGURES"]).open("a") as file:
            file.write(json.dumps(ROUND) + "\n")
        return SimpleNamespace(returncode=int(len(environments) == failing_round))

    monkeypatch.setattr(chaos, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(chaos, "subprocess", SimpleNamespace(run=run_round))
    monkeypatch.setenv("SHARDPOST_SEED", "7")
    arguments = argparse.Namespace(minutes=2, messages=100, faults=4)
    assert chaos.run(arguments) == status
    assert len(environments) == rounds
    assert all("SHARDPOST_SEED" not in env for env in environments), "each round is another one"
    assert environments[0]["SHARDPOST_CHAOS_MESSAGES"] == "100"
    told = capsys.readouterr().out.splitlines()
    assert json.loads(told[-2])["faults"] == 4 * rounds
    assert told[-1] == ("round 2 failed" if status else "3 rounds held")
