"""The contract in Python: tables and their columns, read from hiring.odcs.yaml."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from contracts import formats

CONTRACT = Path(__file__).with_name("hiring.odcs.yaml")


UTF_8 = "utf-8"
# The encodings that the contract may declare for files without a byte order mark.
ENCODINGS = {UTF_8, "windows-1252"}


class LogicalType(StrEnum):
    """The types of columns, by the names of the Open Data Contract Standard."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    TIMESTAMP = "timestamp"


class Delivery(StrEnum):
    """Whether an object of a table has new and changed records, or all records."""

    UPSERT = "upsert"
    SNAPSHOT = "snapshot"


class ContractError(ValueError):
    """The contract declares something that this project does not support; the message names table and column."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name in raw, in headers and over HTTP.
        logical_type: the type of its values.
        description: its meaning.
        required: whether a record without a value for it is rejected; a file may lack the column if it is false.
        primary_key: whether it identifies the records of a table.
        minimum: the least value, inclusive; ISO 8601 text for a timestamp.
        maximum: the greatest value, inclusive for numbers, exclusive for timestamps.
        references: table and column in which its values have to exist, sooner or later.
        synonyms: its other names in headers.
        example: a valid value.
        business_name: its name in the models; empty if they use `name`.
        formats: formats of timestamps in addition to ISO 8601, in strptime's notation.
        personal: whether it is classified as personal data.
    """

    name: str
    logical_type: LogicalType = LogicalType.STRING
    description: str = ""
    required: bool = True
    primary_key: bool = False
    minimum: Any = None
    maximum: Any = None
    references: tuple[str, str] | None = None
    synonyms: tuple[str, ...] = ()
    example: Any = None
    business_name: str = ""
    formats: tuple[str, ...] = ()
    personal: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: its name in raw and in object keys.
        columns: its columns, in the order of a file without a header.
        description: its content.
        synonyms: its other names in object keys.
        business_name: the name of one of its records; empty if there is none but the table's name.
        frequency_days: the maximum number of days between deliveries; None if there is no such agreement.
        delivery: whether an object adds records and replaces those with the same ids, or is a snapshot: ids that the
            newest one lacks are then withdrawn.
        encodings: pairs of a prefix of object keys and the encoding of these objects, for those without a byte order
            mark that are not in UTF-8; an empty prefix matches all keys.
    """

    name: str
    columns: tuple[Column, ...]
    description: str = ""
    synonyms: tuple[str, ...] = ()
    business_name: str = ""
    frequency_days: int | None = None
    delivery: Delivery = Delivery.UPSERT
    encodings: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of its names in object keys."""
        return (self.name, *self.synonyms)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of its columns, in the order of a file without a header."""
        return tuple(column.name for column in self.columns)

    @property
    def required_names(self) -> tuple[str, ...]:
        """The names of the columns that every header has to contain."""
        return tuple(column.name for column in self.columns if column.required)

    def encoding_of(self, key: str) -> str:
        """Return the encoding that is declared for an object, by Python's name; the longest prefix wins.

        Args:
            key: the object's key; for a file its path, in which a prefix may begin at any folder.
        """
        is_file = key.startswith("/")
        matching = [
            (prefix, encoding)
            for prefix, encoding in self.encodings
            if key.startswith(prefix) or (is_file and f"/{prefix}" in key)
        ]
        return max(matching, key=lambda match: len(match[0]), default=("", UTF_8))[1]

    @property
    def key(self) -> Column:
        """The column that identifies its records."""
        return next(column for column in self.columns if column.primary_key)


def read_contract(path: Path = CONTRACT) -> tuple[Table, ...]:
    """Return the tables of a contract, in its order.

    Args:
        path: a data contract in the Open Data Contract Standard.

    Raises:
        ContractError: it declares something that this project does not support.
    """
    declared = _declared(path)
    frequencies = _frequencies(declared)
    tables = tuple(_table(table, frequencies) for table in declared["schema"])
    _require_known_references(tables)
    return tables


def contract_version(path: Path = CONTRACT) -> str:
    """Return the version of a contract: numbers separated by dots, incremented with every change.

    Raises:
        ContractError: it has no valid version.
    """
    version = str(_declared(path).get("version"))
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", version):
        raise ContractError(f"{path.name}: version {version} has to be numbers separated by dots, such as 1.0.0")
    return version


def _declared(path: Path) -> Any:
    return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def _table(declared: Mapping[str, Any], frequencies: Mapping[str, int]) -> Table:
    name = declared["name"]
    table = Table(
        name,
        tuple(_column(name, column) for column in declared["properties"]),
        declared.get("description", ""),
        _synonyms(declared),
        declared.get("businessName", ""),
        frequencies.get(name),
        _delivery(declared),
        _encodings(declared),
    )
    if [column.required for column in table.columns if column.primary_key] != [True]:
        raise ContractError(f"table {name}: exactly one column has to be the primary key, and required")
    if len(set(table.column_names)) < len(table.columns):
        raise ContractError(f"table {name}: two columns have one name")
    return table


def _column(table: str, declared: Mapping[str, Any]) -> Column:
    name, kind = declared["name"], declared.get("logicalType", "string")
    if kind not in {*LogicalType}:
        raise ContractError(f"{table}.{name}: logicalType {kind} is not one of {', '.join(LogicalType)}")
    options = declared.get("logicalTypeOptions", {})
    known = {"minimum", "exclusiveMaximum" if kind == LogicalType.TIMESTAMP else "maximum"}
    if kind == LogicalType.STRING or not known.issuperset(options):
        known = set() if kind == LogicalType.STRING else known
        if unknown := sorted(set(options) - known):
            raise ContractError(f"{table}.{name}: no rule follows from logicalTypeOptions {', '.join(unknown)}")
    return Column(
        name,
        LogicalType(kind),
        declared.get("description", ""),
        bool(declared.get("required", False)),
        bool(declared.get("primaryKey", False)),
        options.get("minimum"),
        options.get("maximum", options.get("exclusiveMaximum")),
        _references(table, declared),
        _synonyms(declared),
        next(iter(declared.get("examples", ())), None),
        declared.get("businessName", ""),
        _formats(table, declared),
        declared.get("classification") == "personal",
    )


def _frequencies(declared: Mapping[str, Any]) -> dict[str, int]:
    """Return the maximum number of days between deliveries by table."""
    frequencies = [sla for sla in declared.get("slaProperties", ()) if sla["property"] == "frequency"]
    for sla in frequencies:
        if sla.get("unit") != "d":
            raise ContractError(f"slaProperties: the frequency of {sla['element']} has to be in days, unit d")
    return {sla["element"]: int(sla["value"]) for sla in frequencies}


def _custom_values(declared: Mapping[str, Any], name: str) -> list[Any]:
    """Return the values of a custom property of a table or column."""
    return [custom["value"] for custom in declared.get("customProperties", ()) if custom["property"] == name]


def _formats(table: str, declared: Mapping[str, Any]) -> tuple[str, ...]:
    values = _custom_values(declared, "formats")
    texts = tuple(str(text) for value in values for text in (value if isinstance(value, list) else [value]))
    problems = formats.problems(texts)
    if texts and declared.get("logicalType") != LogicalType.TIMESTAMP:
        problems = [f"formats are for columns of logicalType {LogicalType.TIMESTAMP}"]
    if problems:
        raise ContractError(f"{table}.{declared['name']}: {'; '.join(problems)}")
    return texts


def _references(table: str, declared: Mapping[str, Any]) -> tuple[str, str] | None:
    targets = [str(relationship["to"]) for relationship in declared.get("relationships", ())]
    if not targets:
        return None
    if len(targets) > 1 or targets[0].count(".") != 1:
        raise ContractError(f"{table}.{declared['name']}: a relationship has to be to one table.column")
    owner, _, column = targets[0].partition(".")
    return owner, column


def _synonyms(declared: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(synonym["synonym"] for synonym in declared.get("synonyms", ()))


def _delivery(declared: Mapping[str, Any]) -> Delivery:
    values = _custom_values(declared, "delivery")
    if unknown := [value for value in values if value not in {*Delivery}]:
        raise ContractError(f"table {declared['name']}: delivery {unknown[0]} is not one of {', '.join(Delivery)}")
    return Delivery(values[0]) if values else Delivery.UPSERT


def _encodings(declared: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    encodings = tuple(
        (str(entry.get("prefix", "")), str(entry["encoding"]).lower())
        for entries in _custom_values(declared, "encodings")
        for entry in entries
    )
    if unknown := sorted({encoding for _, encoding in encodings} - ENCODINGS):
        raise ContractError(f"table {declared['name']}: encodings are utf-8 and windows-1252, not {', '.join(unknown)}")
    return encodings


def _require_known_references(tables: Sequence[Table]) -> None:
    keys = {(table.name, table.key.name) for table in tables}
    for table in tables:
        for column in table.columns:
            if column.references and column.references not in keys:
                raise ContractError(
                    f"{table.name}.{column.name}: {'.'.join(column.references)} is not the primary key of a table"
                )
    referred_to = {
        table.name: {column.references[0] for column in table.columns if column.references} for table in tables
    }
    try:
        TopologicalSorter(referred_to).prepare()
    except CycleError as error:
        raise ContractError(
            f"relationships are circular, {' to '.join(error.args[1])}: no table among them could be checked first"
        ) from None


TABLES = read_contract()


def table_named(name: str) -> Table:
    """Return a table of the contract by its name or one of its synonyms.

    Raises:
        KeyError: there is no such table.
    """
    for table in TABLES:
        if name in table.names:
            return table
    raise KeyError(name)
