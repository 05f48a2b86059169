"""Where refused records go: a file like the one they came from, and beside it the reasons.

The reject file has the form of the input, its header too, so that it can be mended and sent as a
file of its own.  The reasons stand in a second file, a JSON line each, because a remark inside the
first would make it another format.  Both come into being with the first refused record, under
names that were not taken: what an earlier run wrote down is never overwritten.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import orjson

from actors.cli.input_file import InputFile, format_by_suffix
from actors.cli.record_batch import Refused
from pipeline.errors import InputInvalid

_FILES_MAX: Final = 10_000
_REASONS_SUFFIX: Final = ".reasons.jsonl"


class RejectFile:
    """Takes the refused records of one input, in order; a context manager that closes itself.

    `folder` is where the files go: by default beside the input, or for standard input where the
    process works.  A record that was not kept whole stands among the reasons only: its beginning
    alone could be taken for a message.
    """

    def __init__(self, file: InputFile, *, folder: Path | None = None) -> None:
        source = file.path or Path("stdin")
        self._folder = folder or source.parent
        self._stem = source.stem
        # A name that tells the format: the file will be sent without looking back at this one.
        tells = format_by_suffix(source) is file.format
        self._suffix = source.suffix if tells else f".{file.format}"
        self._header = file.header
        self._records: BinaryIO | None = None
        self._reasons: BinaryIO | None = None
        self._next_line = 1
        self.path: Path | None = None
        self.reasons_path: Path | None = None
        self.count = 0
        self.first: str | None = None  # where the first one stood, and why

    def write(self, refused: Iterable[Refused]) -> None:
        """Write refused records down.

        Raises `InputInvalid` if that is not possible: the folder must change.
        """
        try:
            for one in refused:
                self._write(one)
            if self._records is not None and self._reasons is not None:
                self._records.flush()
                self._reasons.flush()
        except OSError as error:
            raise InputInvalid(
                f"{self.path or self._folder}: refused records cannot be written there:"
                f" {error.strerror}; name another folder with --rejects"
            ) from None

    def _write(self, refused: Refused) -> None:
        if self._records is None or self._reasons is None:
            self._records, self._reasons = self._create()
            if self._header is not None:
                self._write_record(self._records, self._header)
        entry: dict[str, object] = {"line": refused.line_number, "reason": refused.reason}
        if refused.is_whole:
            entry["reject_line"] = self._next_line
            self._write_record(self._records, refused.raw)
        else:
            entry["reject_line"] = None
            entry["begins"] = refused.raw.decode(errors="replace")
        self._reasons.write(orjson.dumps(entry) + b"\n")
        self.count += 1
        if self.first is None:
            self.first = f"line {refused.line_number}: {refused.reason}"

    def _write_record(self, stream: BinaryIO, raw: bytes) -> None:
        stream.write(raw + b"\n")
        self._next_line += 1 + raw.count(b"\n")

    def _create(self) -> tuple[BinaryIO, BinaryIO]:
        """Create both files under the first number at which neither is there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, _FILES_MAX + 1):
            name = f"{self._stem}.rejected" + (f"-{number}" if number > 1 else "")
            path = self._folder / f"{name}{self._suffix}"
            reasons_path = self._folder / f"{name}{_REASONS_SUFFIX}"
            try:
                reasons = _create_private(reasons_path)
            except FileExistsError:
                continue
            try:
                records = _create_private(path)
            except FileExistsError:
                reasons.close()
                reasons_path.unlink()
                continue
            self.path, self.reasons_path = path, reasons_path
            return records, reasons
        raise InputInvalid(f"{self._folder}: holds {_FILES_MAX} reject files; remove old ones")

    def close(self) -> str | None:
        """Close the files and return a line that says where they are, None if there are none."""
        for stream in (self._records, self._reasons):
            if stream is not None:
                stream.close()
        if self.path is None:
            return None
        records = "1 refused record" if self.count == 1 else f"{self.count:,} refused records"
        return (
            f"{records}: {self.path}, reasons: {self.reasons_path};"
            " mend the first and send it as a file of its own"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _create_private(path: Path) -> BinaryIO:
    """Create a file that only its owner may read: refused records name people, too."""
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))
