"""`docs/operating/simulator.md` says what the simulator does."""

import re
from pathlib import Path

from cluster.egress.simulator.log import LogLine
from cluster.egress.simulator.modes import PROCESSED, Mode, parse_behaviour

PAGE = (Path(__file__).resolve().parents[5] / "docs" / "operating" / "simulator.md").read_text(
    encoding="utf-8"
)


def test_every_mode_is_on_the_page_with_what_it_does() -> None:
    table = PAGE.partition("## Modes")[2].partition("\n\nWhich")[0]
    told: dict[str, bool] = {}
    for names, processed in re.findall(r"^\| (`.+?) \| (\w[\w, ]*) \|", table, re.MULTILINE):
        modes = re.findall(r"`(\w+)`", names)
        answers = processed.split(", ")
        told |= {m: a == "yes" for m, a in zip(modes, answers * len(modes), strict=False)}
    assert told == {mode.value: mode in PROCESSED for mode in Mode}


def test_the_example_of_the_page_is_a_behaviour() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    behaviour = parse_behaviour(example)
    assert behaviour.receipts is not None
    assert behaviour.rate is not None


def test_every_field_of_the_log_is_on_the_page() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.partition("## The log")[2]))
    assert set(LogLine.__struct_fields__) <= named
