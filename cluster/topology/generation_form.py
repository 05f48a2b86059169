"""The stable form of a generation: JSON with a version, one line, the same bytes for the same ring.

A field is never given another meaning: who changes the form raises `VERSION` and keeps reading the
old ones.  A later version is refused as a whole, because a ring that is half understood places
keys on wrong cores and nobody notices.
"""

from typing import Final

import msgspec

VERSION: Final = 1


class GenerationInvalid(ValueError):
    """The bytes are no generation; whoever stored them is broken."""


class GenerationTooNew(ValueError):
    """A later program wrote this generation: the operator must upgrade this one."""


class NodeForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node with its ring tokens in ascending order."""

    name: str
    shard_count: int
    ignore_msb: int
    tokens: list[int]


class GenerationForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One generation, its nodes in the order of their names."""

    version: int = VERSION
    number: int
    starts_at: int
    prompt_ms: int
    nodes: list[NodeForm]


class _AnyVersion(msgspec.Struct):
    version: int


_version_decoder: Final = msgspec.json.Decoder(_AnyVersion)
_decoder: Final = msgspec.json.Decoder(GenerationForm)


def encode(form: GenerationForm) -> bytes:
    """Return the form's bytes."""
    return msgspec.json.encode(form)


def decode(encoded: bytes) -> GenerationForm:
    """Return the form of its bytes; raises `GenerationTooNew` or `GenerationInvalid`."""
    try:
        version = _version_decoder.decode(encoded).version
        if version > VERSION:
            raise GenerationTooNew(
                f"this generation has form {version}, this program reads up to {VERSION}"
            )
        if version < 1:
            raise GenerationInvalid(f"there is no form {version} of a generation")
        return _decoder.decode(encoded)
    except msgspec.DecodeError as error:
        raise GenerationInvalid(f"not a generation: {error}") from error
