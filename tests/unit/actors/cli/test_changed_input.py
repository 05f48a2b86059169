"""A file that changes while it is sent is known by no content, and is refused."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.cli.input_file import InputFile, open_input
from actors.cli.mapping import FieldMapping, FieldOptions, resolve_mapping
from actors.cli.send import key_of_batch
from actors.cli.slow_input import chunks_of
from pipeline.errors import InputInvalid
from pipeline.limits import CHUNK_MESSAGES_MAX

HEADER = b"to,text\n"
ROW = b"+447911123456,hello\n"


def understood(path: Path) -> tuple[InputFile, FieldMapping]:
    file = open_input(str(path))
    return file, resolve_mapping(file.columns, FieldOptions(channel="sms"), has_rows=file.has_rows)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "messages.csv"
    path.write_bytes(HEADER + ROW * 2 * CHUNK_MESSAGES_MAX)
    os.utime(path, ns=(1, 1))  # a change shows, however soon it comes
    return path


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(ROW)


def write_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(HEADER + ROW.replace(b"hello", b"other"))


CHANGES = [append, write_over, lambda path: path.write_bytes(HEADER + ROW)]


def test_the_key_is_of_the_file_that_is_read_not_of_another_that_took_its_name(path: Path) -> None:
    file, _ = understood(path)
    content = path.read_bytes()
    other = path.with_name("other.csv")
    other.write_bytes(HEADER + ROW)
    other.replace(path)
    assert (
        key_of_batch(None, file) == b"digest:" + hashlib.blake2b(content, digest_size=16).digest()
    )
    file.close()


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_before_it_had_its_key_gets_none(
    path: Path, change: Callable[[Path], object]
) -> None:
    file, _ = understood(path)
    change(path)
    with pytest.raises(InputInvalid, match="was changed while it was read"):
        key_of_batch(None, file)
    file.close()


@pytest.mark.parametrize("change", CHANGES)
async def test_nothing_of_a_file_is_accepted_after_it_changed(
    path: Path, change: Callable[[Path], object]
) -> None:
    file, mapping = understood(path)
    key_of_batch(None, file)
    chunks = chunks_of(file, mapping, is_known_by_content=True)
    assert (await anext(chunks)).first_index == 0
    change(path)
    with pytest.raises(InputInvalid, match="was changed while it was read"):
        await anext(chunks)
    file.close()


async def test_a_file_that_is_known_by_a_name_or_by_keys_may_grow(path: Path) -> None:
    file, mapping = understood(path)
    assert key_of_batch("spring", file) == b"named:spring"
    chunks = chunks_of(file, mapping)
    await anext(chunks)
    append(path)
    assert (await anext(chunks)).first_index == CHUNK_MESSAGES_MAX
    file.close()
