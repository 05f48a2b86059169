"""What it costs to turn the lines of a file into checked bodies: CPU time per record, by format.

The whole way of a file is measured, from its bytes to chunks: reading, splitting or decoding,
mapping, checking recipients and contents, encoding.  Beside it stand the parts that other doors
use: recipients by channel, and the check of a body that comes from elsewhere.  The best of several
rounds counts, as on a shared machine the others measure the neighbours.

    python -m benchmarks.parsing [RECORDS]
"""

import argparse
import io
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

import orjson

from actors.cli.chunks import read_chunks
from actors.cli.input_file import open_input
from actors.cli.mapping import FieldOptions, resolve_mapping
from benchmarks.result import print_result
from pipeline.ingest.recipient import canonicalizer
from pipeline.ingest.submission import validate_body

_RECORDS: Final = 100_000
_ROUNDS: Final = 5
_SEED: Final = 1
_TEXT: Final = "Your parcel {} arrives today between 2 and 4 pm; reply STOP to opt out"


def _records(count: int) -> Iterator[tuple[str, str]]:
    chance = random.Random(_SEED)
    for number in range(count):
        yield f"+44790{chance.randrange(10**7):07}", _TEXT.format(number)


def _files(count: int) -> dict[str, bytes]:
    records = list(_records(count))
    objects = (orjson.dumps({"phone": phone, "text": text}) for phone, text in records)
    return {
        "jsonl": b"\n".join(objects),
        "csv": "\n".join(["phone,text", *(f"{a},{b}" for a, b in records)]).encode(),
        "csv_quoted": "\n".join(["phone,text", *(f'{a},"{b}, ok"' for a, b in records)]).encode(),
        "csv_two_lines": "\n".join(
            ["phone,text", *(f'{a},"{b},\nok"' for a, b in records)]
        ).encode(),
        "tsv": "\n".join(["phone\ttext", *(f"{a}\t{b}" for a, b in records)]).encode(),
    }


def _read(data: bytes, options: FieldOptions) -> tuple[int, list[bytes]]:
    """Return how many records there were, and the bodies of the last chunk."""
    file = open_input("-", standard_input=io.BytesIO(data))
    mapping = resolve_mapping(file.columns, options, has_rows=file.has_rows)
    count = 0
    bodies: list[bytes] = []
    for chunk in read_chunks(file, mapping):
        count += len(chunk.bodies) + len(chunk.refused)
        bodies = list(chunk.bodies)
    return count, bodies


def _best_us(work: Callable[[], int]) -> float:
    """Return the least CPU time of a round in microseconds per unit of the work it returns."""
    best = float("inf")
    for _ in range(_ROUNDS):
        begun = time.process_time_ns()
        count = work()
        best = min(best, (time.process_time_ns() - begun) / count / 1_000)
    return round(best, 3)


def measure(record_count: int) -> dict[str, float]:
    """Return microseconds of CPU time per record of each kind."""
    files = _files(record_count)
    plain = FieldOptions()
    figures = {
        f"{name}_us_per_record": _best_us(lambda data=data: _read(data, plain)[0])  # type: ignore[misc]
        for name, data in files.items()
    }
    template = FieldOptions(content="Dear {phone}: {text} ({#})", metadata={"n": "{#}"})
    figures["jsonl_template_us_per_record"] = _best_us(lambda: _read(files["jsonl"], template)[0])
    keyed = FieldOptions(key="text")
    figures["jsonl_keyed_us_per_record"] = _best_us(lambda: _read(files["jsonl"], keyed)[0])

    bodies = _read(files["jsonl"], plain)[1] * 20

    def validate() -> int:
        for body in bodies:
            validate_body(body)
        return len(bodies)

    figures["validate_body_us"] = _best_us(validate)
    numbers = [phone for phone, _text in _records(10_000)]
    figures["recipient_sms_us"] = _best_us(_canonicalizing("sms", numbers))
    spaced = [f"{number[:3]} {number[3:7]}-{number[7:]}" for number in numbers]
    figures["recipient_sms_spaced_us"] = _best_us(_canonicalizing("sms", spaced))
    addresses = [f"first.last{n}@example{n % 100}.com" for n in range(10_000)]
    figures["recipient_email_us"] = _best_us(_canonicalizing("email", addresses))
    urls = [f"https://example.com/hooks/{n}?source=file" for n in range(10_000)]
    figures["recipient_webhook_us"] = _best_us(_canonicalizing("webhook", urls))
    return figures


def _canonicalizing(channel: str, recipients: list[str]) -> Callable[[], int]:
    canonicalize = canonicalizer(channel)

    def work() -> int:
        for recipient in recipients:
            canonicalize(recipient)
        return len(recipients)

    return work


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=int, nargs="?", default=_RECORDS, help="how many")
    asked: int = parser.parse_args().records
    print_result("parsing", {"records": asked, **measure(asked)})
