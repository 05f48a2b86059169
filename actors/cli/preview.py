"""What a file would become, before anything is sent."""

import json
from itertools import islice
from typing import Final

from rich.console import Console
from rich.table import Column, Table

from actors.cli.chunks import read_chunks
from actors.cli.input_file import InputFile
from actors.cli.mapping import FieldMapping
from actors.cli.output import counted, shown_instant
from actors.cli.record_batch import Refused
from pipeline.instant import Instant
from pipeline.message import Submission, decode_body

_SHOWN_MESSAGES: Final = 5
_SHOWN_CHARS: Final = 80


def show_preview(opened: InputFile, mapping: FieldMapping, *, as_json: bool) -> int:
    """Read the whole file, send nothing; show the mapping, the first messages and the refusals.

    Returns how many records would be refused.
    """
    samples: list[Submission] = []
    refused: list[Refused] = []
    would_accept = refused_count = 0
    for chunk in read_chunks(opened, mapping):
        would_accept += len(chunk.bodies)
        refused_count += len(chunk.refused)
        for body in islice(chunk.bodies, _SHOWN_MESSAGES - len(samples)):
            samples.append(decode_body(body))
        refused.extend(chunk.refused[: _SHOWN_MESSAGES - len(refused)])
    if as_json:
        print(  # noqa: T201
            json.dumps(
                {
                    "input": opened.describe(),
                    "mapping": [list(line) for line in mapping.description],
                    "would_accept": would_accept,
                    "refused": refused_count,
                    "samples": [
                        {
                            "channel": one.channel,
                            "recipient": one.recipient,
                            "content": one.content,
                            "group": one.group,
                            "priority": one.priority,
                            "metadata": one.metadata,
                            "due": _due(one) or None,
                            "window": _hours(one) or None,
                            "expires": _end(one) or None,
                        }
                        for one in samples
                    ],
                    "first_refusals": [[one.line_number, one.reason] for one in refused],
                }
            )
        )
        return refused_count
    console = Console(soft_wrap=True)
    console.print(opened.describe(), highlight=False, markup=False)
    console.print(mapping.describe(), highlight=False, markup=False)
    columns: dict[str, list[str]] = {
        "channel": [one.channel for one in samples],
        "recipient": [one.recipient for one in samples],
        "content": [one.content[:_SHOWN_CHARS] for one in samples],
        "group": [one.group for one in samples],
    }
    for name, told in (("due", _due), ("window", _hours), ("expires", _end)):
        if any(map(told, samples)):
            columns[name] = [told(one) for one in samples]
    # A time in two lines is none; of the others the content gives way first.
    table = Table(*(Column(name, no_wrap=name in ("due", "expires")) for name in columns), box=None)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console.print(table, highlight=False, markup=False)
    for line in refused:
        console.print(f"line {line.line_number}: {line.reason}", highlight=False, markup=False)
    console.print(
        f"{counted(would_accept, 'message')} would be accepted,"
        f" {counted(refused_count, 'record')} refused.  Nothing was sent.",
        highlight=False,
    )
    return refused_count


def _due(one: Submission) -> str:
    if one.due_at is not None:
        return shown_instant(Instant(one.due_at))
    return "" if one.delay_ms is None else f"in {one.delay_ms / 1_000:g} s"


def _hours(one: Submission) -> str:
    return f"{one.window} {one.time_zone}".strip()


def _end(one: Submission) -> str:
    if one.expires_at is not None:
        return shown_instant(Instant(one.expires_at))
    return "" if one.validity_ms is None else f"{one.validity_ms / 1_000:g} s after due"
