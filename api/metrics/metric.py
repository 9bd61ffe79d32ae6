"""What a metric or a lookup is, and the SQL that follows from it: Postgres builds JSON and CSV out of the same rows.

Rows never become Python objects on their way out. Which version of the marts a response is made of is read in the
same snapshot as their rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, LiteralString, NamedTuple, get_args

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal, Placeholder
from pydantic import BaseModel, TypeAdapter, create_model

from api.caching import mart_versions
from api.caching.mart_versions import MartVersion
from api.database import Database
from api.metrics.schemas import FileOptions, Formatted, MetricQuery, PagedResponse, Paging, SeveralYears, YearQuery

# Not materialized: the page is then read off the mart's index in its order, and the rest is counted, not copied.
PAGED_RESULT = SQL("""
with matching as not materialized (
    {rows}
),

page as (
    select *
    from matching
    order by {order}
    limit %(limit)s offset %(offset)s
),

items as (
    select {items}
    from page
),

aggregates as (
    select {aggregates}
    from matching
),

result as (
    select *
    from items
    cross join aggregates
)
""")

WHOLE_RESULT = SQL("""
with matching as (
    {rows}
),

result as (
    select {columns}
    from matching
)
""")

JSON_QUERY = SQL("""
{result},

state as (
    {state}
)

select
    state.version,
    state.published_at,
    {total},
    json_build_object({response})::text
from result
left join state on true
""")

# Without aliases: `order by` would take them for what a spreadsheet is shown. The header is written by the export.
CSV_QUERY = SQL("""
copy (
    select {columns}
    from (
        {rows}
    ) as matching
    order by {order}
) to stdout with (format csv, encoding 'UTF8')
""")

# A spreadsheet takes a cell that begins like this for a formula, and runs it; behind an apostrophe it is text.
CELL = SQL(r"regexp_replace({}::text, '^([-=+@\t\r\n])', '''\1')")
NUMBERS = {"integer", "number", "null"}

# Comes before the snapshot, which would otherwise not see the rows of a table that takes a mart's place in between.
# From there on, a copy takes as long as there are rows.
HOLD_MARTS = SQL("""
set transaction isolation level repeatable read;
lock table {tables} in access share mode;
set local statement_timeout = 0
""")

# Parameters that a response repeats.
REPEATED = ("year", "limit", "offset")


class Reading(NamedTuple):
    """A metric as it was read: the state of its marts, how many rows match where it has pages, and the JSON."""

    version: MartVersion | None
    total: int | None
    body: str


@dataclass(frozen=True)
class Metric:
    """Everything about one metric: its address, documentation, formats, pages and validators follow from it.

    Attributes:
        slug: The last part of its address, in words with dashes.
        summary: What it is, in the list of all addresses.
        description: What it does, a sentence.
        marts: Tables of schema marts that its SQL reads. It is as new, and as ready, as all of them together. The
            first one of a metric of a year has a column `year`, and all years in it.
        query: Its parameters. The SQL has them as %(name)s; a % of its own is written %%.
        response: Its JSON, with an example for the documentation. The type of `items` says which fields a row has, in
            CSV too. One that is a PagedResponse makes a metric with pages.
        rows: A select statement whose columns are the fields of an item and those that the order needs.
        order: What the rows are ordered by. It leaves no ties; text has `collate "C"`.
        aggregates: For each field of the response that is neither `items` nor a parameter, SQL that computes it from
            all rows.
        folder: What its address begins with.
        tag: The heading that it is documented under.
    """

    slug: str
    summary: str
    description: str
    marts: tuple[str, ...]
    query: type[MetricQuery]
    response: type[BaseModel]
    rows: LiteralString
    order: LiteralString
    aggregates: Mapping[str, LiteralString] = field(default_factory=dict)
    folder: str = "/metrics/"
    tag: str = "metrics"

    def __post_init__(self) -> None:
        if not self.example.get("items"):
            raise ValueError(f"metric {self.slug}: json_schema_extra of its response has no example with items")
        if unknown := [name for name in self.response.model_fields if name not in self._values]:
            raise ValueError(f"metric {self.slug}: no aggregate and no parameter for {', '.join(unknown)}")

    @property
    def path(self) -> str:
        """Its address."""
        return f"{self.folder}{self.slug}"

    @property
    def operation_id(self) -> str:
        """Its name in the OpenAPI document, and so the name of the function in a generated client."""
        return self.slug.replace("-", "_")

    @property
    def is_paged(self) -> bool:
        """Whether it has pages."""
        return issubclass(self.response, PagedResponse)

    @property
    def is_yearly(self) -> bool:
        """Whether it is of a year."""
        return issubclass(self.query, YearQuery)

    @cached_property
    def parameters(self) -> type[MetricQuery]:
        """What its JSON can be asked for: the query, a page where it has pages, a format."""
        bases: tuple[type[Any], ...] = (Formatted, *([Paging] if self.is_paged else []), self.query)
        return create_model(self.query.__name__, __base__=bases)

    @cached_property
    def request(self) -> type[BaseModel]:
        """Everything that a request can ask for: the same, and what is for files only."""
        several = [SeveralYears] if self.is_yearly else []
        bases: tuple[type[Any], ...] = (FileOptions, *several, self.parameters)
        return create_model(self.query.__name__, __base__=bases)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The fields of a row."""
        return tuple(self._item.model_fields)

    @property
    def csv_columns(self) -> tuple[str, ...]:
        """The columns of a file: the year comes first, so that files of several years can be put together."""
        return ("year", *self.columns) if self.is_yearly else self.columns

    @property
    def example(self) -> Mapping[str, Any]:
        """The example of its response."""
        extra: Any = self.response.model_config.get("json_schema_extra", {})
        example: Mapping[str, Any] = extra.get("example", {})
        return example

    @cached_property
    def json_query(self) -> bytes:
        """One row: the marts' version and when it was published, how many rows match where it has pages, the JSON."""
        item = [part for name in self.columns for part in (Literal(name), Identifier(name))]
        items = SQL("json_agg(json_build_object({}) order by {}) as items").format(_list(item), SQL(self.order))
        aggregates = [SQL("{} as {}").format(SQL(of), Identifier(name)) for name, of in self.aggregates.items()]
        if self.is_paged:
            total = SQL("count(*) as total")
            result = PAGED_RESULT.format(
                rows=SQL(self.rows), order=SQL(self.order), items=items, aggregates=_list([total, *aggregates])
            )
        else:
            result = WHOLE_RESULT.format(rows=SQL(self.rows), columns=_list([items, *aggregates]))
        response = [part for name in self.response.model_fields for part in (Literal(name), self._values[name])]
        return JSON_QUERY.format(
            result=result,
            state=mart_versions.version_query(self.marts),
            total=SQL("result.total" if self.is_paged else "null"),
            response=_list(response),
        ).as_bytes()

    @cached_property
    def csv_query(self) -> bytes:
        """A copy of all rows, of one year where it is of a year, to CSV, without a header."""
        year = [SQL("{}::integer").format(Placeholder("year"))] if self.is_yearly else []
        columns = [
            Identifier(name) if _is_number(column.annotation) else CELL.format(Identifier(name))
            for name, column in self._item.model_fields.items()
        ]
        return CSV_QUERY.format(columns=_list([*year, *columns]), rows=SQL(self.rows), order=SQL(self.order)).as_bytes()

    @cached_property
    def years_query(self) -> bytes:
        """The years that a metric of a year has rows of."""
        return SQL("select distinct year from {} order by year").format(Identifier("marts", self.marts[0])).as_bytes()

    @cached_property
    def version_query(self) -> bytes:
        """The marts' version and when it was published; no row where one of them was never published."""
        return mart_versions.version_query(self.marts).as_bytes()

    @cached_property
    def hold_query(self) -> bytes:
        """Keeps builds from replacing the marts until the transaction ends, in which it is the first statement."""
        return HOLD_MARTS.format(tables=_list([Identifier("marts", mart) for mart in self.marts])).as_bytes()

    async def read(self, database: Database, parameters: BaseModel) -> Reading:
        """Read it as JSON.

        Raises:
            psycopg.OperationalError: the database cannot be reached or takes too long.
        """
        version, published_at, total, body = await database.read(self.json_query, parameters.model_dump())
        return Reading(MartVersion.of((version, published_at)), total, body)

    @property
    def _item(self) -> type[BaseModel]:
        item: type[BaseModel]
        (item,) = get_args(self.response.model_fields["items"].annotation)
        return item

    @property
    def _values(self) -> Mapping[str, Composable]:
        """SQL for the fields that a response can have."""
        asked = (name for name in REPEATED if name in self.parameters.model_fields)
        return {
            "items": SQL("coalesce(items, '[]')"),
            **({"total": Identifier("total")} if self.is_paged else {}),
            **{name: SQL("{}::integer").format(Placeholder(name)) for name in asked},
            **{name: Identifier(name) for name in self.aggregates},
        }


def _list(parts: Iterable[Composable]) -> Composed:
    return SQL(", ").join(parts)


def _is_number(annotation: Any) -> bool:
    schema = TypeAdapter(annotation).json_schema()
    return {each.get("type") for each in schema.get("anyOf", [schema])} <= NUMBERS
