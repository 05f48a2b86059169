"""Chunks of a file: a thousand records each, read, checked and encoded, ready to be accepted.

Where a chunk begins and ends depends on the file alone, never on what is refused in it: the same
file, read again with the same mapping, gives the same chunks, and an ingester that knows a chunk
already knows it by its first index.  Nothing larger than a chunk is ever held.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from actors.cli.input_file import InputFile
from actors.cli.mapping import FieldMapping
from actors.cli.record_batch import RecordBatch, Refused
from pipeline.errors import InputInvalid
from pipeline.ingest.submission import BuiltBodies, build_bodies
from pipeline.ingest.template import Template
from pipeline.limits import (
    BATCH_MESSAGES_MAX,
    CHUNK_MESSAGES_MAX,
    CHUNK_RAW_BYTES_MAX,
    IDEMPOTENCY_KEY_BYTES_MAX,
)
from pipeline.message import Body

_DIGEST_BYTES: Final = 16
_DIGESTED_BYTES: Final = 1024 * 1024
_RAW_HEAD_BYTES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Records [first_index, first_index + 1000) of a file, fewer only in its last chunk.

    `positions` are offsets in the chunk; they and `bodies`, `keys`, `line_numbers` and `raws` have
    one length: that of the records which can be accepted.
    """

    first_index: int
    positions: Sequence[int]
    bodies: list[Body]
    keys: list[bytes] | None
    line_numbers: Sequence[int]
    raws: Sequence[bytes]
    refused: list[Refused]  # in the order of their lines
    bytes_read: int  # from the beginning of the file to the end of the chunk

    def refuse(self, place: int, reason: str) -> Refused:
        """Return the record of the body at this place as refused, for what was found out later."""
        # A body is never empty, and neither is the record that it was made of.
        raw = self.raws[place]
        return Refused(
            line_number=self.line_numbers[place], reason=reason, raw=raw, is_whole=bool(raw)
        )


def read_chunks(file: InputFile, mapping: FieldMapping) -> Iterator[Chunk]:
    """Yield the chunks of a file in order, each when it is asked for.

    Raises `InputInvalid` if the file cannot be read to its end; what was yielded stays right.
    """
    first_index = 0
    while True:
        growing = _GrowingChunk(mapping, first_index)
        while growing.count < CHUNK_MESSAGES_MAX:
            try:
                batch = file.reader.read(CHUNK_MESSAGES_MAX - growing.count)
            except OSError as error:
                done = first_index + growing.count
                raise InputInvalid(
                    f"{file.name}: cannot be read beyond record {done}: {error.strerror}"
                ) from None
            if not batch.count:
                break
            growing.add(batch)
        if not growing.count:
            return
        first_index += growing.count
        if first_index > BATCH_MESSAGES_MAX:
            raise InputInvalid(f"{file.name}: more than {BATCH_MESSAGES_MAX:,} records")
        yield growing.chunk(file.reader.bytes_read)


class _GrowingChunk:
    """A chunk that takes batches until it is full; rows are encoded and forgotten at once."""

    def __init__(self, mapping: FieldMapping, first_index: int) -> None:
        self._mapping = mapping
        self._first_index = first_index
        self._positions: list[int] = []
        self._bodies: list[Body] = []
        self._keys: list[bytes] = []
        self._line_numbers: list[int] = []
        self._raws: list[bytes] = []
        self._refused: list[Refused] = []
        self._raw_bytes_left = CHUNK_RAW_BYTES_MAX
        self.count = 0

    def add(self, batch: RecordBatch) -> None:
        """Encode the records of a batch."""
        first_index = self._first_index + self.count
        # People count records from 1.
        numbers: Sequence[int] = range(first_index + 1, first_index + batch.count + 1)
        if len(batch.rows) < batch.count:
            numbers = [first_index + 1 + position for position in batch.positions]
        built = build_bodies(self._mapping.plan, batch.rows, numbers)
        places, bodies = built.positions, built.bodies
        reasons = {place: str(invalid) for place, invalid in built.refused.items()}
        if self._mapping.key is not None:
            places, bodies = self._add_keys(self._mapping.key, batch, numbers, built, reasons)
        self._bodies += bodies
        if len(places) == batch.count and not self.count:
            self._positions += places
        else:
            self._positions += [self.count + batch.positions[place] for place in places]
        self._line_numbers += [batch.line_numbers[place] for place in places]
        self._raws += self._kept([batch.raws[place] for place in places])
        if batch.refused or reasons:
            self._refuse(batch, reasons)
        self.count += batch.count

    def chunk(self, bytes_read: int) -> Chunk:
        """Return what was taken."""
        return Chunk(
            first_index=self._first_index,
            positions=self._positions,
            bodies=self._bodies,
            keys=None if self._mapping.key is None else self._keys,
            line_numbers=self._line_numbers,
            raws=self._raws,
            refused=self._refused,
            bytes_read=bytes_read,
        )

    def _add_keys(
        self,
        template: Template,
        batch: RecordBatch,
        numbers: Sequence[int],
        built: BuiltBodies,
        reasons: dict[int, str],
    ) -> tuple[list[int], list[Body]]:
        """Add the natural keys of the records that were built, and to the reasons why one has none.

        Returns the places and the bodies of those that have a key.
        """
        rendered = template.render_all(batch.rows, numbers)
        places, bodies = [], []
        for place, body in zip(built.positions, built.bodies, strict=True):
            key = rendered.values[place].encode()
            if place in rendered.failed:
                reasons[place] = f"key: {rendered.failed[place]}"
            elif len(key) > IDEMPOTENCY_KEY_BYTES_MAX:
                reasons[place] = f"key: has {len(key)} bytes, at most {IDEMPOTENCY_KEY_BYTES_MAX}"
            else:
                self._keys.append(key)
                places.append(place)
                bodies.append(body)
        return places, bodies

    def _kept(self, raws: list[bytes]) -> list[bytes]:
        """Return the records as they were read, empty where the chunk keeps enough of them."""
        self._raw_bytes_left -= sum(map(len, raws))
        return raws if self._raw_bytes_left >= 0 else [b""] * len(raws)

    def _refuse(self, batch: RecordBatch, reasons: dict[int, str]) -> None:
        refused = batch.refused + [
            Refused(line_number=batch.line_numbers[place], reason=reason, raw=batch.raws[place])
            for place, reason in reasons.items()
        ]
        refused.sort(key=lambda one: one.line_number)
        for one in refused:
            self._raw_bytes_left -= len(one.raw)
            if self._raw_bytes_left < 0 and one.is_whole and len(one.raw) > _RAW_HEAD_BYTES:
                one = replace(one, raw=one.raw[:_RAW_HEAD_BYTES], is_whole=False)
            self._refused.append(one)


def batch_key_of(path: Path) -> bytes:
    """Return the digest of a file's bytes, by which the same file is known again.

    Reads the file once, in bounded memory.  Raises `InputInvalid` if it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return _digest_of(stream.fileno())
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}") from None


def batch_key_of_opened(file: InputFile) -> bytes:
    """Return the digest of a regular file that is open; its reader stays where it is.

    Of the file that was opened, whatever has its name by now.  Raises `InputInvalid` if it cannot
    be read, or was changed since.
    """
    assert file.regular is not None, file.name
    try:
        digest = _digest_of(file.regular.descriptor)
    except OSError as error:
        raise InputInvalid(f"{file.name}: cannot be read: {error.strerror}") from None
    file.refuse_change()
    return digest


def _digest_of(descriptor: int) -> bytes:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    place = 0
    while piece := os.pread(descriptor, _DIGESTED_BYTES, place):
        digest.update(piece)
        place += len(piece)
    return digest.digest()
