"""Options that every command has, and those that say when a message is to be sent."""

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from cluster.runtime.store_kind import StoreKind
from pipeline.limits import BY_CHARS_MAX


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

StoreOption = Annotated[
    StoreKind | None,
    typer.Option(
        "--store",
        help="local: in the data folder; scylla: on a ScyllaDB cluster.",
        show_default="as the data folder or the settings say, else local",
    ),
]
HostsOption = Annotated[
    str | None,
    typer.Option(
        "--hosts",
        metavar="A,B,C",
        help="Some nodes of the ScyllaDB cluster.",
        show_default="as the data folder or the settings say",
    ),
]

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document.", show_default=False)
]

TenantOption = Annotated[str, typer.Option(help="Whose they are.")]
ByOption = Annotated[
    str | None, typer.Option(help="Who asks.", show_default="the user of the system")
]


def who_asks(by: str | None) -> str:
    """Return who is noted as having asked; raises `typer.BadParameter`."""
    name = by if by is not None else _system_user()
    if not 0 < len(name.strip()) <= BY_CHARS_MAX or not name.isprintable():
        raise typer.BadParameter(f"--by: 1 to {BY_CHARS_MAX} printable characters")
    return name.strip()


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return f"uid {os.getuid()}"


AtOption = Annotated[
    str | None,
    typer.Option(help="Template: not before 2030-01-31T18:00:00Z, or after a while: 'in 2h'."),
]
WindowOption = Annotated[
    str | None,
    typer.Option(help="Template: hours it may go out in: 'mon-fri 09:00-18:00; sat 10:00-14:00'."),
]
TimeZoneOption = Annotated[
    str | None, typer.Option(help="Template: of --window and --at, such as Europe/Paris.")
]
ExpiresOption = Annotated[
    str | None,
    typer.Option(help="Template: not after this time, or so long after it is due: 2h."),
]
OrderingKeyOption = Annotated[
    str | None,
    typer.Option(help="Template: messages with the same key go out in their order, one at a time."),
]
