"""The program `shardpost`: a command comes in, an exit code goes out.

Whatever a command raises on purpose ends as one line on standard error that says what to change,
and as a number that says the same to a script (`exit_codes`).  A command's module is imported when
it is called, so that a query does not wait for the imports of another: Ray alone takes a second.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Annotated, Any, Final

import msgspec
import typer
from typer.core import TyperGroup

from actors.cli.exit_codes import ExitCode, exit_code_of
from pipeline.errors import DataFolderUnusable, InputInvalid, ShardpostError

PROGRAM: Final = "shardpost"

_LINE_CHARS_MAX: Final = 1_000  # of what is told of an error
_ARGUMENT_CHARS_SHOWN: Final = 64

# The module of each command has a function `register`, which adds it (and its like) to an app.
_MODULE_OF: Final = {
    "demo": "running",
    "up": "running",
    "send": "send",
    "status": "status",
    "lanes": "lanes",
    "generations": "generations_command",
    "group": "group",
    "messages": "messages",
    "trace": "trace",
    **dict.fromkeys(
        ("cancel", "edit", "expedite", "pause", "resume", "resolve", "resend"), "commands"
    ),
    "suppress": "suppress",
    "export": "export",
    "connectors": "connectors",
    "schema": "schema_command",
    "alignment": "alignment_command",
    "backup": "backup_command",
    "restore": "backup_command",
    "audit": "audit_command",
    "doctor": "doctor",
    "version": "version",
}
COMMANDS: Final = tuple(_MODULE_OF)

# Commands that have commands of their own.
GROUPS: Final = {
    "suppress": ("add", "import", "remove", "list"),
    "schema": ("init", "check", "migrate", "restored"),
}


@cache
def _commands_of(module: str) -> dict[str, Any]:
    """Import a module of commands and return what it registers, by name."""
    register: Callable[[typer.Typer], None] = import_module(f"actors.cli.{module}").register
    app = typer.Typer(add_completion=False)
    app.callback()(lambda: None)  # a single command would not make a group
    register(app)
    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    return commands


class _Commands(TyperGroup):
    """Finds commands, and ends them all the same way."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Return a command, None if there is none of this name."""
        if cmd_name in _MODULE_OF:
            return _commands_of(_MODULE_OF[cmd_name])[cmd_name]
        if near := get_close_matches(cmd_name, COMMANDS, n=1):
            raise typer.TyperException(f"no such command {cmd_name!r}; did you mean {near[0]}?")
        return None

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **extra: Any,  # noqa: ANN401
    ) -> None:
        """Run the command of the arguments and end the process with its exit code."""
        extra["standalone_mode"] = False
        arguments = sys.argv[1:] if args is None else list(args)
        try:
            code = super().main(args=args, prog_name=prog_name or PROGRAM, **extra) or ExitCode.OK
        except typer.TyperException as error:
            code = _tell_misuse(error)
        except typer.Abort:
            code = ExitCode.INTERRUPTED
        except UnicodeEncodeError as error:
            code = _tell_error(_refused_bytes(arguments) or error, is_debug="--debug" in arguments)
        except Exception as error:
            code = _tell_error(error, is_debug="--debug" in arguments)
            try:
                sys.stdout.flush()
            except OSError:
                _forget_output()
        sys.exit(code)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Run a command, and notice here when nobody reads what it writes."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            _forget_output()
            raise typer.Exit(ExitCode.OUTPUT_CLOSED) from None


def _tell_misuse(error: typer.TyperException) -> ExitCode:
    context = getattr(error, "ctx", None)
    path = PROGRAM if context is None else context.command_path
    reason = _one_line(error.format_message())
    _tell(f"{path}: {reason.rstrip('.')}; see `{path} --help`")
    return ExitCode.USAGE


def _tell_error(error: Exception, *, is_debug: bool) -> ExitCode:
    if is_debug:
        traceback.print_exception(error)
    if isinstance(error, msgspec.DecodeError):
        # What people give is read by others; this is what was stored.
        error = DataFolderUnusable(
            f"something that is stored cannot be decoded ({error}): `shardpost audit` says what;"
            " restore the data folder from a backup, or run the release that wrote it"
        )
    code = exit_code_of(error)
    reason = _one_line(str(error))
    if code is not ExitCode.UNEXPECTED or (isinstance(error, ShardpostError) and reason):
        _tell(f"{PROGRAM}: {reason}")
    else:
        what = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        hint = "" if is_debug else f"; run it again as `{PROGRAM} --debug …` to see where"
        _tell(f"{PROGRAM}: unexpected: {what}{hint}")
    return code


def _refused_bytes(arguments: Sequence[str]) -> InputInvalid | None:
    """Return the refusal of an argument whose bytes are no text, None if all are text."""
    for argument in arguments:
        if not argument.isascii() and any("\udc80" <= one <= "\udcff" for one in argument):
            shown = ascii(argument[:_ARGUMENT_CHARS_SHOWN])
            return InputInvalid(f"{shown} on the command line is not UTF-8: write it as UTF-8")
    return None


def _forget_output() -> None:
    """Let nothing more be written to an output that takes nothing, not even at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    if len(line) <= _LINE_CHARS_MAX:
        return line
    # What was given stands in the middle; before it is what is wrong, behind it what to change.
    half = _LINE_CHARS_MAX // 2
    return f"{line[:half]} … {line[-half:]}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


app: Final = typer.Typer(
    name=PROGRAM,
    cls=_Commands,
    help="Messages go in, each is handed over once, and can be traced.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    _is_debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from.", show_default=False)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


def open_closed_streams() -> None:
    """Let what the program was started without be empty, and take everything.

    Python has None in its place; and a file of ours that got its number would take what others,
    such as Ray, write there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        nowhere = os.open(os.devnull, os.O_RDWR)
        try:
            os.fstat(number)
        except OSError:
            os.dup2(nowhere, number)
            os.close(nowhere)
            nowhere = number
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))


def main() -> None:
    """Run the program."""
    open_closed_streams()
    app()
