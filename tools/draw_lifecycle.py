"""Draws the life of a message, from the table that decides it, into `docs/lifecycle.md`.

    python -m tools.draw_lifecycle

A drawing made by hand would be true once; a test compares this one with the file.
"""

from collections import defaultdict
from pathlib import Path
from typing import Final

from pipeline.lifecycle import RESOLVED_STATES, TRANSITIONS, Event, MessageState

FILE: Final = Path(__file__).resolve().parents[1] / "docs" / "lifecycle.md"

_HEAD: Final = """\
# The life of a message

Drawn by `make draw` from `TRANSITIONS` in `pipeline/lifecycle.py`: change that table, not this
page.

A message's state is a fold of its timeline: the state after its largest step.  What is not drawn
here cannot happen: the code refuses it.
"""

_MEANINGS: Final = {
    MessageState.ACCEPTED: "durable in its lane's buffer; the lane has not named it yet",
    MessageState.CLAIMED: "the decision to hand it over is journaled; its outcome is not",
    MessageState.WAITING: "certainly not with a provider; waits for its next claim",
    MessageState.UNCERTAIN: "perhaps handed over; settled by a receipt, a query or an audited act",
    MessageState.SENT: "the provider took it",
    MessageState.DELIVERED: "the provider says that the recipient has it",
    MessageState.FAILED: "refused for good",
    MessageState.EXPIRED: "its validity ended before it was handed over",
    MessageState.CANCELLED: "withdrawn before it was handed over",
    MessageState.SUPPRESSED: "the recipient must not be written to",
}
assert set(_MEANINGS) == set(MessageState)


def draw() -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_diagram(), "", *_table(), ""])


def _diagram() -> list[str]:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {MessageState.ACCEPTED}"]
    for state, edges in TRANSITIONS.items():
        # Several events that lead to one state are one arrow.
        events_to: dict[MessageState, list[Event]] = defaultdict(list)
        for event, target in edges.items():
            events_to[target].append(event)
        for target, events in events_to.items():
            lines.append(f"    {state} --> {target}: {', '.join(map(_worded, events))}")
        if not edges:
            lines.append(f"    {state} --> [*]")
    return [*lines, "```"]


def _table() -> list[str]:
    return [
        "| state | means | the lane is done with it |",
        "|---|---|---|",
        *(
            f"| `{state}` | {_MEANINGS[state]} | {'yes' if state in RESOLVED_STATES else 'no'} |"
            for state in TRANSITIONS
        ),
    ]


def _worded(event: Event) -> str:
    return event.name.lower().replace("_", " ")


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
