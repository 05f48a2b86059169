"""Options that every command has."""

from pathlib import Path
from typing import Annotated

import typer


def _named_folder(value: Path | None) -> Path | None:
    # Path("") is the working directory, which nobody means.
    if value is not None and not value.name and value == Path():
        raise typer.BadParameter("should name a folder")
    return value


# No `envvar`: SHARDPOST_DATA is a setting, read and checked with all others.
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="The data folder; else SHARDPOST_DATA, else the setting `data`.",
        callback=_named_folder,
        show_default=False,
    ),
]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document.", show_default=False)
]
