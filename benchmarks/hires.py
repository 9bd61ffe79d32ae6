"""Buckets with one file of generated hires each: all valid, or with a share of bad records."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.servers import LISTING_SECONDS, Servers

RECORDS_PER_BLOCK = 100_000
SECONDS_OF_2021 = 365 * 86_400
BAD_RECORD_EVERY = 100
LINE_END = b"\r\n"
REORDERED = ("id", "name", "datetime", "job_id", "department_id")


@dataclass(frozen=True)
class Hires:
    """A bucket with one file of hires, the number of its records, and how many of them have to be rejected."""

    bucket: str
    path: Path
    records: int
    rejected: int


def hires(servers: Servers, records: int, kind: str = "") -> Hires:
    """Return a bucket with hires, always the same ones.

    Args:
        servers: the servers.
        records: the number of hires.
        kind: one of KINDS; "" for a plain file.
    """
    bucket = f"hires-{records}{kind and '-' + kind}"
    path = servers.folder_of(bucket) / "hired_employees.csv"
    if not path.exists():
        path.parent.mkdir()
        _write(path, records, KINDS.get(kind))
        # The server caches its list of buckets.
        time.sleep(LISTING_SECONDS + 0.5)
    return Hires(bucket, path, records, records // BAD_RECORD_EVERY if kind == "dirty" else 0)


def _write(path: Path, records: int, written: Callable[[bytes, int], bytes] | None) -> None:
    """Write in blocks: five million names would need gigabytes of memory."""
    random = np.random.default_rng(2021)
    with path.open("wb") as file:
        for first in range(1, records + 1, RECORDS_PER_BLOCK):
            text = block(random, first, min(RECORDS_PER_BLOCK, records + 1 - first))
            file.write(written(text, first) if written else text)


def block(random: np.random.Generator, first: int, count: int) -> bytes:
    """Return valid hires of 2021 as CSV, about 57 bytes each.

    Args:
        random: the generator of dates, departments and jobs.
        first: the id of the first hire.
        count: the number of hires.
    """
    moments = np.datetime64("2021-01-01T00:00:00") + random.integers(0, SECONDS_OF_2021, count).astype("timedelta64[s]")
    ids = range(first, first + count)
    frame = pd.DataFrame(
        {
            "id": ids,
            "name": [f"Given{hire % 997} Family{hire % 9973}" for hire in ids],
            "datetime": np.char.add(np.datetime_as_string(moments), "Z"),
            "department_id": random.integers(1, 13, count),
            "job_id": random.integers(1, 184, count),
        }
    )
    return frame.to_csv(header=False, index=False, lineterminator=LINE_END.decode()).encode()


def _spoiled(text: bytes, first: int) -> bytes:
    """Damage every hundredth record, alternating between five kinds of damage."""
    lines = text.split(LINE_END)
    for index in range(-first % BAD_RECORD_EVERY, len(lines) - 1, BAD_RECORD_EVERY):
        way = (first + index) // BAD_RECORD_EVERY % 5
        number, name, *rest = lines[index].split(b",")
        fields = (
            [number, name, *rest[:-1]],  # too few fields
            [number, name, *rest, b"1"],  # too many
            [number, b'"' + name + b'"s', *rest],  # text after a closing quote
            [number, b'"' + name, *rest],  # a quote that is not closed
            [number, name + b"\xe9", *rest],  # not UTF-8
        )[way]
        lines[index] = b",".join(fields)
    return LINE_END.join(lines)


def _with_semicolons(text: bytes, _first: int) -> bytes:
    return text.replace(b",", b";")


def _reordered(text: bytes, first: int) -> bytes:
    """Swap the last two columns, and add a header."""
    lines = [line.rsplit(b",", 2) for line in text.split(LINE_END)[:-1]]
    header = [",".join(REORDERED).encode()] if first == 1 else []
    return b"".join(line + LINE_END for line in [*header, *(b",".join((rest, b, a)) for rest, a, b in lines)])


# Kinds of files: the function converts a plain block, given the id of its first hire.
KINDS: dict[str, Callable[[bytes, int], bytes]] = {
    "dirty": _spoiled,
    "semicolon": _with_semicolons,
    "reordered": _reordered,
}
