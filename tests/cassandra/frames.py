"""Frames of the native protocol, version 4, as far as the front must read and make them."""

import re
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

HEAD: Final = struct.Struct(">BBhBi")  # version, flags, stream, opcode, length of the body
VERSION_MAX: Final = 4
COMPRESSED: Final = 1  # a flag


class Opcode(IntEnum):
    """What a frame is."""

    ERROR = 0
    STARTUP = 1
    READY = 2
    AUTHENTICATE = 3
    OPTIONS = 5
    SUPPORTED = 6
    QUERY = 7
    RESULT = 8
    PREPARE = 9
    EXECUTE = 10
    REGISTER = 11
    EVENT = 12
    BATCH = 13
    AUTH_CHALLENGE = 14
    AUTH_RESPONSE = 15
    AUTH_SUCCESS = 16


_PREPARED: Final = 4  # a kind of RESULT

# Flags of a request.
_HAS_VALUES: Final = 0x01
_HAS_PAGE_SIZE: Final = 0x04
_HAS_PAGING_STATE: Final = 0x08
_HAS_SERIAL_LEVEL: Final = 0x10

_PROTOCOL_ERROR: Final = 0x000A
_BOOTSTRAPPING: Final = 0x1002
_WRITE_TIMEOUT: Final = 0x1100
_QUORUM: Final = 4

# What ScyllaDB understands and Cassandra does not.  A bound `TIMEOUT ?` stays: taking it out would
# move the other markers.
_OPTION: Final = (
    rb"(?:tablets|tombstone_gc|per_partition_rate_limit|paxos_grace_seconds)"
    rb"\s*=\s*(?:\{[^}]*\}|\w+)"
)
_SCYLLA_ONLY: Final = [
    (re.compile(pattern, re.IGNORECASE), instead)
    for pattern, instead in (
        (rb"\bUSING\s+TIMEOUT\s+\w+\s+AND\b", b"USING"),
        (rb"\s+(?:USING|AND)\s+TIMEOUT\s+\w+", b""),
        (rb"\s+BYPASS\s+CACHE\b", b""),
        (rb"\bWITH\s+" + _OPTION + rb"\s+AND\b", b"WITH"),
        (rb"\s+(?:WITH|AND)\s+" + _OPTION, b""),
    )
]


def make_frame(opcode: Opcode, body: bytes, *, stream: int, version: int = 0x84) -> bytes:
    """Return a frame; version 0x84 is an answer."""
    return HEAD.pack(version, 0, stream, opcode, len(body)) + body


def with_stream(frame: bytes, stream: int) -> bytes:
    """Return the same frame under another stream."""
    return frame[:2] + struct.pack(">h", stream) + frame[4:]


def version_refused(stream: int) -> bytes:
    """Return the answer to a client that speaks a later version."""
    text = "Invalid or unsupported protocol version; supported versions are 3-4"
    return make_frame(Opcode.ERROR, _error(_PROTOCOL_ERROR, text), stream=stream)


def not_begun(stream: int) -> bytes:
    """Return the answer of a coordinator that has certainly done nothing."""
    return make_frame(Opcode.ERROR, _error(_BOOTSTRAPPING, "made by the test"), stream=stream)


def write_timeout(stream: int) -> bytes:
    """Return the answer of a coordinator that does not know what its replicas did."""
    body = _error(_WRITE_TIMEOUT, "made by the test") + struct.pack(">hii", _QUORUM, 0, 1)
    return make_frame(Opcode.ERROR, body + _string("SIMPLE"), stream=stream)


def plain_query(frame: bytes) -> bytes:
    """Return a QUERY or PREPARE without what only ScyllaDB understands."""
    body = frame[HEAD.size :]
    [length] = struct.unpack_from(">i", body)
    text = body[4 : 4 + length]
    for pattern, instead in _SCYLLA_ONLY:
        text = pattern.sub(instead, text)
    body = struct.pack(">i", len(text)) + text + body[4 + length :]
    version, flags, stream, opcode, _ = HEAD.unpack_from(frame)
    return HEAD.pack(version, flags, stream, opcode, len(body)) + body


def query_text(frame: bytes) -> str:
    """Return the text of a QUERY or PREPARE."""
    [length] = struct.unpack_from(">i", frame, HEAD.size)
    start = HEAD.size + 4
    return frame[start : start + length].decode()


def executed_id(frame: bytes) -> bytes:
    """Return the id of an EXECUTE's prepared statement."""
    return _short_bytes(frame, HEAD.size)


def first_of_batch(frame: bytes) -> bytes | None:
    """Return the id of a BATCH's first statement, None if it was not prepared."""
    kind_at = HEAD.size + 3
    return _short_bytes(frame, kind_at + 1) if frame[kind_at] == 1 else None


def prepared_id(frame: bytes) -> bytes | None:
    """Return the id that a RESULT gives to a prepared statement, None if it is another RESULT."""
    [kind] = struct.unpack_from(">i", frame, HEAD.size)
    return _short_bytes(frame, HEAD.size + 4) if kind == _PREPARED else None


def key_index(frame: bytes) -> int | None:
    """Return which marker of a prepared statement is its partition key, None if that is not one."""
    place = HEAD.size + 4
    place += 2 + struct.unpack_from(">H", frame, place)[0]
    _flags, _columns, key_count = struct.unpack_from(">iii", frame, place)
    if key_count != 1:
        return None
    index: int = struct.unpack_from(">H", frame, place + 12)[0]
    return index


def executed_value(frame: bytes, index: int) -> bytes | None:
    """Return the value of a marker in an EXECUTE."""
    place = HEAD.size
    place += 2 + struct.unpack_from(">H", frame, place)[0]
    # Consistency, flags, number of values.
    return _value(frame, place + 5, index)


def batched_value(frame: bytes, index: int) -> bytes | None:
    """Return the value of a marker in the first statement of a BATCH, which was prepared."""
    # Kind of the batch, number of statements, kind of the first, its id.
    place = HEAD.size + 4
    place += 2 + struct.unpack_from(">H", frame, place)[0]
    return _value(frame, place + 2, index)


def executed_levels(frame: bytes) -> tuple[int, int | None]:
    """Return the consistency of an EXECUTE, and its serial one if it names it."""
    place = HEAD.size
    place += 2 + struct.unpack_from(">H", frame, place)[0]
    level, flags = struct.unpack_from(">HB", frame, place)
    place += 3
    if flags & _HAS_VALUES:
        place = _behind_values(frame, place)
    if flags & _HAS_PAGE_SIZE:
        place += 4
    if flags & _HAS_PAGING_STATE:
        place += 4 + max(0, struct.unpack_from(">i", frame, place)[0])
    return level, _serial_level(frame, place, flags)


def batched_levels(frame: bytes) -> tuple[int, int | None]:
    """Return the same of a BATCH of prepared statements."""
    place = HEAD.size + 1
    [count] = struct.unpack_from(">H", frame, place)
    place += 2
    for _ in range(count):
        place += 1
        place += 2 + struct.unpack_from(">H", frame, place)[0]
        place = _behind_values(frame, place)
    level, flags = struct.unpack_from(">HB", frame, place)
    return level, _serial_level(frame, place + 3, flags)


def _serial_level(frame: bytes, place: int, flags: int) -> int | None:
    if not flags & _HAS_SERIAL_LEVEL:
        return None
    level: int = struct.unpack_from(">H", frame, place)[0]
    return level


def _behind_values(frame: bytes, place: int) -> int:
    [count] = struct.unpack_from(">H", frame, place)
    place += 2
    for _ in range(count):
        place += 4 + max(0, struct.unpack_from(">i", frame, place)[0])
    return place


def _value(frame: bytes, place: int, index: int) -> bytes | None:
    for number in range(index + 1):
        [length] = struct.unpack_from(">i", frame, place)
        if number == index:
            return frame[place + 4 : place + 4 + length] if length >= 0 else None
        place += 4 + max(length, 0)
    return None


def sharded(supported: bytes, told: Mapping[str, str]) -> bytes:
    """Return a SUPPORTED that says these things, too, and offers no compression."""
    [count] = struct.unpack_from(">H", supported, HEAD.size)
    place = HEAD.size + 2
    options: dict[str, list[str]] = {}
    for _ in range(count):
        name, place = _read_string(supported, place)
        [value_count] = struct.unpack_from(">H", supported, place)
        place += 2
        options[name] = []
        for _ in range(value_count):
            value, place = _read_string(supported, place)
            options[name].append(value)
    options.pop("PROTOCOL_VERSIONS", None)
    options["COMPRESSION"] = []  # so that frames can be looked into
    options.update({name: [value] for name, value in told.items()})
    body = struct.pack(">H", len(options))
    for name, values in options.items():
        body += _string(name) + struct.pack(">H", len(values)) + b"".join(map(_string, values))
    [stream] = struct.unpack_from(">h", supported, 2)
    return make_frame(Opcode.SUPPORTED, body, stream=stream)


def _error(code: int, text: str) -> bytes:
    return struct.pack(">i", code) + _string(text)


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def _read_string(frame: bytes, place: int) -> tuple[str, int]:
    [length] = struct.unpack_from(">H", frame, place)
    end = place + 2 + length
    return frame[place + 2 : end].decode(), end


def _short_bytes(frame: bytes, place: int) -> bytes:
    [length] = struct.unpack_from(">H", frame, place)
    return frame[place + 2 : place + 2 + length]
