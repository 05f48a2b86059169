"""What a file would become, before anything is sent."""

import json
from itertools import islice
from typing import Final

from rich.console import Console
from rich.table import Table

from actors.cli.chunks import read_chunks
from actors.cli.input_file import InputFile
from actors.cli.mapping import FieldMapping
from actors.cli.record_batch import Refused
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
    table = Table("channel", "recipient", "content", "group", box=None)
    for one in samples:
        table.add_row(one.channel, one.recipient, one.content[:_SHOWN_CHARS], one.group)
    console.print(table, highlight=False, markup=False)
    for line in refused:
        console.print(f"line {line.line_number}: {line.reason}", highlight=False, markup=False)
    console.print(
        f"{would_accept:,} messages would be accepted, {refused_count:,} records refused."
        "  Nothing was sent.",
        highlight=False,
    )
    return refused_count
