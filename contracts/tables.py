"""The contract as Python sees it: tables and their columns, read from hiring.odcs.yaml."""

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
# What the contract may declare instead, where files have no byte order mark.
ENCODINGS = {UTF_8, "windows-1252"}


class LogicalType(StrEnum):
    """What a column holds, by the standard's own names."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    TIMESTAMP = "timestamp"


class Delivery(StrEnum):
    """What an object of a table is, as the contract calls it."""

    UPSERT = "upsert"
    SNAPSHOT = "snapshot"


class ContractError(ValueError):
    """The contract declares something that this project cannot follow; the message names table and column."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name in raw, in headers and over HTTP.
        logical_type: what its values are.
        description: what it means.
        required: whether a record without a value for it is rejected; where it is not, a file may lack the column.
        primary_key: whether it tells the records of a table apart.
        minimum: the least value, inclusive; of a timestamp as ISO 8601 text.
        maximum: the greatest value, inclusive for numbers, exclusive for timestamps.
        references: table and column whose values it has to be one of, sooner or later.
        synonyms: other names of it in headers.
        example: a valid value.
        business_name: what the models call it; empty where they keep its name.
        formats: how points in time may be written beyond ISO 8601, in the notation of strptime.
        personal: whether it says who somebody is, by its classification.
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
        description: what it holds.
        synonyms: other names of it in object keys.
        business_name: what one of its records is called; empty where there is no other word than the table's name.
        frequency_days: within how many days something of it should arrive; None where nobody expects it.
        delivery: whether an object adds records and replaces those with its ids, or is the whole table: ids that the
            newest one lacks are then withdrawn.
        encodings: the encoding of objects whose keys begin with a prefix, where they have no byte order mark and are
            not in UTF-8; an empty prefix is that of all of them.
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
        """Every name that an object's key may call it by."""
        return (self.name, *self.synonyms)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of its columns, in the order of a file without a header."""
        return tuple(column.name for column in self.columns)

    @property
    def required_names(self) -> tuple[str, ...]:
        """The names of the columns that every header has to name."""
        return tuple(column.name for column in self.columns if column.required)

    def encoding_of(self, key: str) -> str:
        """Return the encoding that is declared for an object, by Python's name; the longest prefix counts.

        Args:
            key: the object's key; of a file, its path, in which a prefix may begin at any folder.
        """
        of_file = key.startswith("/")
        matching = [each for each in self.encodings if key.startswith(each[0]) or (of_file and f"/{each[0]}" in key)]
        return max(matching, key=lambda each: len(each[0]), default=("", UTF_8))[1]

    @property
    def key(self) -> Column:
        """The column that tells its records apart."""
        return next(column for column in self.columns if column.primary_key)


def read_contract(path: Path = CONTRACT) -> tuple[Table, ...]:
    """Return the tables that a contract declares, in its order.

    Args:
        path: a data contract in the Open Data Contract Standard.

    Raises:
        ContractError: it declares what this project cannot follow.
    """
    declared = _declared(path)
    frequencies = _frequencies(declared)
    tables = tuple(_table(each, frequencies) for each in declared["schema"])
    _require_known_references(tables)
    return tables


def contract_version(path: Path = CONTRACT) -> str:
    """Return the version of a contract: numbers between dots, raised with every change.

    Raises:
        ContractError: it has none.
    """
    version = str(_declared(path).get("version"))
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", version):
        raise ContractError(f"{path.name}: version {version} is not numbers between dots, like 1.0.0")
    return version


def _declared(path: Path) -> Any:
    return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def _table(declared: Mapping[str, Any], frequencies: Mapping[str, int]) -> Table:
    name = declared["name"]
    table = Table(
        name,
        tuple(_column(name, each) for each in declared["properties"]),
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
    """Return by table within how many days something of it should arrive."""
    agreed = [each for each in declared.get("slaProperties", ()) if each["property"] == "frequency"]
    for each in agreed:
        if each.get("unit") != "d":
            raise ContractError(f"slaProperties: the frequency of {each['element']} has to be in days, unit d")
    return {each["element"]: int(each["value"]) for each in agreed}


def _formats(table: str, declared: Mapping[str, Any]) -> tuple[str, ...]:
    values = [each["value"] for each in declared.get("customProperties", ()) if each["property"] == "formats"]
    found = tuple(str(text) for value in values for text in (value if isinstance(value, list) else [value]))
    problems = formats.problems(found)
    if found and declared.get("logicalType") != LogicalType.TIMESTAMP:
        problems = [f"formats are for columns of logicalType {LogicalType.TIMESTAMP}"]
    if problems:
        raise ContractError(f"{table}.{declared['name']}: {'; '.join(problems)}")
    return found


def _references(table: str, declared: Mapping[str, Any]) -> tuple[str, str] | None:
    to = [each["to"] for each in declared.get("relationships", ())]
    if not to:
        return None
    if len(to) > 1 or str(to[0]).count(".") != 1:
        raise ContractError(f"{table}.{declared['name']}: a relationship is to one table.column")
    owner, _, column = str(to[0]).partition(".")
    return owner, column


def _synonyms(declared: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(each["synonym"] for each in declared.get("synonyms", ()))


def _delivery(declared: Mapping[str, Any]) -> Delivery:
    values = [each["value"] for each in declared.get("customProperties", ()) if each["property"] == "delivery"]
    if unknown := [value for value in values if value not in {*Delivery}]:
        raise ContractError(f"table {declared['name']}: delivery {unknown[0]} is not one of {', '.join(Delivery)}")
    return Delivery(values[0]) if values else Delivery.UPSERT


def _encodings(declared: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    encodings = tuple(
        (str(each.get("prefix", "")), str(each["encoding"]).lower())
        for own in declared.get("customProperties", ())
        if own["property"] == "encodings"
        for each in own["value"]
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
            f"relationships lead in a circle, {' to '.join(error.args[1])}: no table of it could be checked first"
        ) from None


TABLES = read_contract()


def table_named(name: str) -> Table:
    """Return a table of the contract by its name or one of its other names.

    Raises:
        KeyError: there is none.
    """
    for table in TABLES:
        if name in table.names:
            return table
    raise KeyError(name)
