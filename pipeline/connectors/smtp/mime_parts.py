"""The little of MIME that a report about mail needs, for bytes from anywhere.

Reports come from strangers, so nothing here recurses, nothing grows faster than its input, and
nothing raises on any bytes: a header is lines, a multipart is what stands between lines of dashes,
one level deep.  `email.parser` follows whatever nesting it finds, into its own limits.
"""

import binascii
import re
from collections.abc import Mapping
from itertools import islice
from typing import Final, NamedTuple

HEADER_BYTES_MAX: Final = 64 * 1024
_FIELDS_MAX: Final = 256
_VALUE_CHARS_MAX: Final = 1_024
_PARTS_MAX: Final = 16

_field_name: Final = re.compile(r"[!-9;-~]{1,128}").fullmatch
_end_of_header: Final = re.compile(rb"\r?\n[ \t]*\r?\n").search
_boundary: Final = re.compile(
    r'(?i);\s*boundary\s*=\s*(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))'
).search
_parameter_report_type: Final = re.compile(r'(?i);\s*report-type\s*=\s*"?([\w-]{1,64})').search

Header = Mapping[str, str]
"""Fields by their names in small letters, the first of each."""


class Part(NamedTuple):
    """One part of a multipart, still encoded."""

    header: Header
    body: bytes

    @property
    def media_type(self) -> str:
        """`type/subtype` in small letters; what says nothing is text."""
        return self.header.get("content-type", "text/plain").partition(";")[0].strip().lower()

    @property
    def report_type(self) -> str:
        """What a multipart/report says that it reports, "" if nothing."""
        found = _parameter_report_type(self.header.get("content-type", ""))
        return found[1].lower() if found else ""

    def decoded(self) -> bytes:
        """Return the body without its transfer encoding; as it is, if that cannot be taken off."""
        match self.header.get("content-transfer-encoding", "").strip().lower():
            case "base64":
                try:
                    return binascii.a2b_base64(self.body)
                except binascii.Error:
                    return self.body
            case "quoted-printable":
                return binascii.a2b_qp(self.body)
            case _:
                return self.body


def split_mail(raw: bytes) -> Part:
    """Return a mail's, or a part's, header and body."""
    if raw[:1] == b"\n" or raw[:2] == b"\r\n":
        return Part({}, raw.lstrip(b"\r\n"))
    end = _end_of_header(raw, 0, HEADER_BYTES_MAX)
    if end is None:
        return Part(read_fields(raw[:HEADER_BYTES_MAX]), b"")
    return Part(read_fields(raw[: end.start()]), raw[end.end() :])


def read_fields(block: bytes) -> Header:
    """Return the fields of a header; lines that are none are left out."""
    fields: dict[str, str] = {}
    name = ""
    values: list[str] = []
    for line in block.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
        if line[:1] in (" ", "\t"):
            values.append(line.strip())
            continue
        _put(fields, name, values)
        name, colon, value = line.partition(":")
        name = name.rstrip().lower() if colon else ""
        values = [value.strip()]
        if len(fields) >= _FIELDS_MAX:
            return fields
    _put(fields, name, values)
    return fields


def _put(fields: dict[str, str], name: str, values: list[str]) -> None:
    if _field_name(name):
        fields.setdefault(name, " ".join(values)[:_VALUE_CHARS_MAX].strip())


def split_parts(mail: Part) -> list[Part]:
    """Return the parts of a multipart, the first of many; none if it has no boundary."""
    found = _boundary(mail.header.get("content-type", ""))
    if not mail.media_type.startswith("multipart/") or found is None:
        return []
    name = re.escape((found[1] or found[2]).rstrip().encode())
    delimiter = re.compile(rb"\r?\n--" + name + rb"(--)?[ \t]*(?=\r?\n|$)")
    parts = []
    # A preamble stands before the first delimiter, an epilogue behind the last.
    body = b"\n" + mail.body
    begin = None
    for match in islice(delimiter.finditer(body), _PARTS_MAX + 1):
        if begin is not None:
            parts.append(split_mail(_without_line_end(body[begin : match.start()])))
        begin = match.end()
        if match[1]:
            return parts
    if begin is not None and len(parts) < _PARTS_MAX:
        parts.append(split_mail(_without_line_end(body[begin:])))
    return parts


def _without_line_end(content: bytes) -> bytes:
    """Leave out the end of the delimiter's own line."""
    return content.partition(b"\n")[2]
