"""The format detected at an object's beginning; the ledger stores it, since a load may resume further down."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from orchestration.ingest.dialect import PLAIN, Dialect, Refusal
from orchestration.ingest.encoding import Encoding

# Columns in exports of rejected records that identify each record.
PROVENANCE = ("_load_id", "_record")


@dataclass(frozen=True)
class FileFormat:
    """How an object's records are written, and which columns their fields are.

    Attributes:
        fields: the column of each field of a record, in order; None for a field that is left out.
        dialect: the CSV dialect.
        encoding: the character encoding.
        has_surplus: whether empty fields may follow the last one, as spreadsheets write them.
        header_line: the line, from 1, in which the header begins; None without a header.
        left_out: the names of the fields that are left out, as the header has them.
    """

    fields: tuple[str | None, ...]
    dialect: Dialect = PLAIN
    encoding: Encoding = Encoding.UTF_8
    has_surplus: bool = False
    header_line: int | None = None
    left_out: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The loaded columns, in the order of their fields."""
        return tuple(column for column in self.fields if column is not None)

    @cached_property
    def provenance(self) -> tuple[int, int] | None:
        """The indices of the fields with load id and record number of the corrected record; None without them."""
        unnamed = [index for index, column in enumerate(self.fields) if column is None]
        index_of = dict(zip(self.left_out, unnamed, strict=False))
        load, record = (index_of.get(name) for name in PROVENANCE)
        return (load, record) if load is not None and record is not None else None

    @property
    def is_rewritten(self) -> bool:
        """Whether records have to be rewritten for COPY."""
        return self.has_surplus or None in self.fields or self.dialect.has_escapes

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the indices of the first and the last field of each run of loaded fields."""
        begin = None
        for index, column in enumerate((*self.fields, None)):
            if column is not None and begin is None:
                begin = index
            elif column is None and begin is not None:
                yield begin, index - 1
                begin = None

    def values(self, record: bytes) -> list[str] | None:
        """Return the values of a record's fields, None if its quotes are wrong."""
        spans = self.dialect.read_fields(record, 0, len(record))
        if spans is None or isinstance(spans, Refusal):
            return None
        return self.values_at(record, spans)

    def values_at(self, text: bytes, spans: Sequence[tuple[int, int]]) -> list[str]:
        """Return the values of fields, whose begin and end offsets in a text are `spans`."""
        value, encoding = self.dialect.value, self.encoding.of_records
        return [value(text[begin:end]).decode(encoding, "replace") for begin, end in spans]

    def to_json(self) -> dict[str, Any]:
        """Return it as the ledger stores it, without `left_out`, which has its own column there."""
        return {
            "fields": self.fields,
            "encoding": self.encoding,
            "has_surplus": self.has_surplus,
            "header_line": self.header_line,
            **self.dialect.to_json(),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any], left_out: Sequence[str] = ()) -> Self:
        """Return the format that `to_json` serialized."""
        own = dict(stored)
        fields, encoding = tuple(own.pop("fields")), Encoding(own.pop("encoding"))
        has_surplus, header_line = own.pop("has_surplus"), own.pop("header_line")
        return cls(fields, Dialect.from_json(own), encoding, has_surplus, header_line, tuple(left_out))
