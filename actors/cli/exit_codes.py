"""What the program says to whoever started it, as a number.

A script that calls `shardpost` decides by these numbers what to do next, so each stands for one
thing to do, and none ever changes its meaning.  `docs/operating/exit-codes.md` is their page.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    BAD_INPUT = 3
    BAD_SETTINGS = 4
    DATA_FOLDER_UNUSABLE = 5
    PLATFORM_HELD = 6
    PLATFORM_NOT_RUNNING = 7
    SOME_REFUSED = 8
    FINDINGS = 9
    UNANSWERED = 10
    NOTHING_FOUND = 11
    PLATFORM_NOT_STARTED = 12
    PLATFORM_BROKEN = 13
    NOT_DONE = 14
    # As shells have it: 128 and the number of the signal.
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


# What it means, and what to do about it.
MEANINGS: Final[Mapping[ExitCode, tuple[str, str]]] = MappingProxyType(
    {
        ExitCode.OK: ("Done.", "Nothing."),
        ExitCode.UNEXPECTED: (
            "Something that should not happen.",
            "Run it again as `shardpost --debug …` and report what it shows.",
        ),
        ExitCode.USAGE: (
            "The command line is wrong: an unknown option, a missing argument.",
            "Change the command; `--help` lists what there is.",
        ),
        ExitCode.BAD_INPUT: (
            "What was given cannot be taken: a file, a template, a key.",
            "Change the input; the same again fails the same way.",
        ),
        ExitCode.BAD_SETTINGS: (
            "A setting is out of range, nobody knows its name, or what it names is not to be had:"
            " a secret, a port.",
            "Change `shardpost.toml` or the variable that the line names.",
        ),
        ExitCode.DATA_FOLDER_UNUSABLE: (
            "The data folder, or the keyspace on ScyllaDB, is missing, not ours, damaged, not"
            " permitted, or of a newer release.",
            "Name another, or mend this one as the line says.",
        ),
        ExitCode.PLATFORM_HELD: (
            "Another platform runs on the data folder, or on a keyspace that was restored.",
            "Stop it, or name another folder.",
        ),
        ExitCode.PLATFORM_NOT_RUNNING: (
            "The command needs a running platform and there is none.",
            "Start it with `shardpost up`.",
        ),
        ExitCode.SOME_REFUSED: (
            "Some messages were refused; all others were accepted.  After `--dry-run`: would be.",
            "Mend the records in the reject file and send that file; after `--dry-run`, in the file"
            " itself.",
        ),
        ExitCode.FINDINGS: (
            "`audit` or `doctor` found something.",
            "Look at what it lists.",
        ),
        ExitCode.UNANSWERED: (
            "No definite answer: it may have been done or not.",
            "Repeat the command; what was accepted is not accepted twice: of a file never, of a"
            " pipe under a `--batch-key` or `--key`.",
        ),
        ExitCode.NOTHING_FOUND: (
            "There is nothing of this name: no message, no group, nobody on a list.",
            "Look at the id or the tenant; what is past its time to live is not known any more.",
        ),
        ExitCode.PLATFORM_NOT_STARTED: (
            "A part of the platform did not come up.",
            "Change what the line names; else look into the logs that it names.  Nothing is lost.",
        ),
        ExitCode.PLATFORM_BROKEN: (
            "A part of the running platform died that nothing replaces; it ended without a drain.",
            "Start it again with `shardpost up`; what was claimed and has no outcome is"
            " `uncertain`, all else goes on.",
        ),
        ExitCode.NOT_DONE: (
            "Something that was asked of messages was not done: too late, refused, or not known.",
            "Look at what it lists; the same again is answered the same way.",
        ),
        ExitCode.INTERRUPTED: (
            "Ctrl-C ended it, or SIGTERM while the platform started.",
            "Nothing.",
        ),
        ExitCode.OUTPUT_CLOSED: (
            "Whoever read the output went away, as `head` does.",
            "Nothing.",
        ),
    }
)
assert set(MEANINGS) == set(ExitCode)

# By name, because some are raised beside Ray, and no query imports Ray to name an error of it.
# What is not here, nor derived from what is here, is unexpected.
EXIT_CODE_OF_ERROR: Final[Mapping[str, ExitCode]] = MappingProxyType(
    {
        "InputInvalid": ExitCode.BAD_INPUT,
        "SettingInvalid": ExitCode.BAD_SETTINGS,
        "DataFolderUnusable": ExitCode.DATA_FOLDER_UNUSABLE,
        "SchemaUnusable": ExitCode.DATA_FOLDER_UNUSABLE,
        "EntryUnreadable": ExitCode.DATA_FOLDER_UNUSABLE,
        "PlatformHeld": ExitCode.PLATFORM_HELD,
        "PlatformNotRunning": ExitCode.PLATFORM_NOT_RUNNING,
        "PlatformNotStarted": ExitCode.PLATFORM_NOT_STARTED,
        "PlatformBroken": ExitCode.PLATFORM_BROKEN,
        "PlatformUnanswered": ExitCode.UNANSWERED,
        "StoreUnavailable": ExitCode.UNANSWERED,
        "WriteUnknown": ExitCode.UNANSWERED,
        "NothingFound": ExitCode.NOTHING_FOUND,
    }
)


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code of an error: that of the nearest class that has one."""
    for kind in type(error).__mro__:
        if kind.__name__ in EXIT_CODE_OF_ERROR:
            return EXIT_CODE_OF_ERROR[kind.__name__]
    return ExitCode.UNEXPECTED
