"""Queries about the state of raw and the marts, from the ledger and the tables, without Dagster."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql

from contracts import Table
from orchestration.ingest.ledger import IS_CORRECTION, IS_REPLACED
from orchestration.ingest.objects import FILES
from orchestration.warehouse.published import unpublished_loads

if TYPE_CHECKING:
    from orchestration.database import Connection

# Files written by hand have a typo per thousand records; one per hundred means that a program writes them wrong.
WARNING_REJECTED_SHARE = 0.01
# By then the metrics differ noticeably from the sender's numbers.
ERROR_REJECTED_SHARE = 0.10
# A run retries for two minutes in an outage, and a failed run is followed by others within minutes: what waits longer
# than this will not recover without help.
MAX_WAIT_SECONDS = 900
# An object with less than half as many records as the previous one was probably truncated, or is of another kind. Small
# ones normally vary more than that.
USUAL_SHARE = 0.5
USUAL_RECORDS = 20


@dataclass(frozen=True)
class Discrepancy:
    """A contradiction between ledger and records; `record` is None if it concerns the whole load."""

    load_id: int
    record: int | None
    complaint: str


@dataclass(frozen=True)
class Share:
    """The rejected records of a load. `object` is its key in the bucket."""

    load_id: int
    object: str
    records: int
    malformed: int
    invalid: int

    @property
    def share(self) -> float:
        """The rejected share of the records, 0 to 1."""
        return (self.malformed + self.invalid) / self.records if self.records else 0.0


@dataclass(frozen=True)
class FailedObject:
    """An object that does not count because its latest load failed or is held. `since` is when that load began."""

    load_id: int
    object: str
    status: str
    since: datetime
    why: str

    @property
    def why_with_name(self) -> str:
        """The reason, beginning with the object's key: most reasons begin with its full address."""
        before, key, after = self.why.partition(self.object)
        return f"{key}{after}" if key and before.startswith("s3://") else f"{self.object}: {self.why}"


@dataclass(frozen=True)
class Delivery:
    """The number of records of an object. `object` is its key in the bucket."""

    load_id: int
    object: str
    records: int


@dataclass(frozen=True)
class OpenRecord:
    """An open rejected record. `object` is None for a batch over HTTP, `id` if it cannot be read."""

    table: str
    object: str | None
    load: int
    record: int
    line: int | None
    id: str | None
    reasons: str


@dataclass(frozen=True)
class MissingReference:
    """An unknown id of another table, how many records wait for it, and since when the first of them has."""

    table: str
    column: str
    missing_from: str
    id: str
    waiting: int
    since: datetime
    hours: float


@dataclass(frozen=True)
class Waiting:
    """Complete loads that the marts do not show: how many, the first of them, and when it completed."""

    loads: int
    first_load_id: int | None = None
    since: datetime | None = None
    seconds: float = 0.0

    @property
    def is_too_long(self) -> bool:
        """Whether it takes too long to recover without help."""
        return self.seconds > MAX_WAIT_SECONDS


def discrepancies(connection: "Connection", limit: int) -> list[Discrepancy]:
    """Return contradictions in all of raw, at most `limit` of them. Takes about two seconds per million records.

    Raises:
        psycopg.errors.UndefinedTable: there is no view raw.discrepancies: the migrations have not run.
    """
    found = connection.execute("select load_id, record, complaint from raw.discrepancies limit %s", [limit])
    return [Discrepancy(*row) for row in found]


def discrepancies_of_loads(connection: "Connection", table: Table, load_ids: Sequence[int]) -> list[Discrepancy]:
    """Return contradictions in some complete loads of a table; reads the records of these loads only.

    The number of records and the sum of their numbers show whether a record is missing or duplicated.

    Args:
        connection: of a role that reads schema raw.
        table: whose loads.
        load_ids: which of them.
    """
    if not load_ids:
        return []
    query = sql.SQL(ACCOUNTS).format(sql.Identifier("raw", table.name))
    accounts = connection.execute(query, {"loads": list(load_ids)}).fetchall()
    return [Discrepancy(load_id, None, complaint) for load_id, complaint in accounts]


ACCOUNTS = """
    with stored as (
        select _load_id as load_id, count(*) as records, sum(_record) as numbers
        from {}
        where _load_id = any(%(loads)s)
        group by _load_id
    ),
    malformed as (
        select load_id, count(*) as records, sum(record) as numbers
        from raw.rejected_records
        where load_id = any(%(loads)s)
        group by load_id
    ),
    invalid as (
        select load_id, count(*) as records
        from raw.invalid_records
        where load_id = any(%(loads)s)
        group by load_id
    ),
    chunks as (
        select load_id, sum(records) as records, sum(rejected) as rejected
        from raw.load_chunks
        where load_id = any(%(loads)s)
        group by load_id
    )
    select load_id, complaint
    from raw.loads
    left join stored using (load_id)
    left join malformed using (load_id)
    left join invalid using (load_id)
    left join chunks using (load_id)
    cross join lateral (
        values
        (
            coalesce(stored.records, 0) <> loads.loaded,
            format('has %%s rows, its ledger says %%s', coalesce(stored.records, 0), loads.loaded)
        ),
        (
            coalesce(malformed.records, 0) <> loads.malformed,
            format('has %%s malformed records, its ledger says %%s', coalesce(malformed.records, 0), loads.malformed)
        ),
        (
            coalesce(invalid.records, 0) <> loads.invalid,
            format('has %%s invalid records, its ledger says %%s', coalesce(invalid.records, 0), loads.invalid)
        ),
        (
            coalesce(stored.numbers, 0) + coalesce(malformed.numbers, 0)
            <> loads.records::numeric * (loads.records + 1) / 2,
            'lacks a record, or has one twice'
        ),
        (
            loads.source = 'object'
            and (coalesce(chunks.records, 0), coalesce(chunks.rejected, 0)) <> (loads.records, loads.rejected),
            format('has chunks of %%s records, its ledger says %%s', coalesce(chunks.records, 0), loads.records)
        )
    ) as account (is_wrong, complaint)
    where load_id = any(%(loads)s) and is_wrong
    order by load_id
"""


def rejected_shares(connection: "Connection", load_ids: Sequence[int]) -> list[Share]:
    """Return the rejected share of each of some complete loads, highest first."""
    query = """
        select load_id, key, records, coalesce(malformed, rejected), coalesce(invalid, 0)
        from raw.loads
        where load_id = any(%s) and status = 'complete'
        order by rejected::float / greatest(records, 1) desc, load_id
    """
    return [Share(*row) for row in connection.execute(query, [list(load_ids)])]


def failed_objects(connection: "Connection", table: Table) -> list[FailedObject]:
    """Return the objects in the bucket whose latest load failed or is held, latest first.

    Abandoned loads and loads in progress do not count: the previous load decides.
    """
    rows = connection.execute(
        f"""
        select load_id, key, status, started_at, coalesce(error, '')
        from raw.loads
        where
            table_name = %(table)s and source = 'object' and bucket <> %(files)s and status in ('failed', 'held')
            and not {IS_REPLACED}
        order by load_id desc
        """,  # noqa: S608 - a constant
        {"table": table.name, "files": FILES},
    )
    return [FailedObject(*row) for row in rows]


def last_deliveries(connection: "Connection", table: Table) -> list[Delivery]:
    """Return the newest object of a table that was read completely, then the complete one before it, if any.

    Corrections of rejected records, which are few, are left out.
    """
    rows = connection.execute(
        f"""
        with newest as (
            select load_id, key, records
            from raw.loads
            where
                table_name = %(table)s and source = 'object' and status in ('complete', 'held')
                and not {IS_CORRECTION}
            order by load_id desc
            limit 1
        ),
        before as (
            select loads.load_id, loads.key, loads.records
            from raw.loads, newest
            where
                table_name = %(table)s and source = 'object' and status = 'complete'
                and loads.load_id < newest.load_id and not {IS_CORRECTION}
            order by load_id desc
            limit 1
        )
        select * from newest
        union all
        select * from before
        """,  # noqa: S608 - a constant
        {"table": table.name},
    )
    return [Delivery(*row) for row in rows]


def is_of_usual_size(deliveries: Sequence[Delivery]) -> bool:
    """Return whether the first of two deliveries has about as many records as the previous one, or more."""
    if len(deliveries) < 2:
        return True
    newest, before = deliveries
    return before.records < USUAL_RECORDS or newest.records >= USUAL_SHARE * before.records


def open_records(connection: "Connection", limit: int) -> tuple[dict[str, int], list[OpenRecord]]:
    """Return the number of open rejected records by table, without tables that have none, and the latest records.

    Args:
        connection: of a role that reads what dbt builds; all of it has to be built.
        limit: how many records to return.
    """
    counts = connection.execute(
        "select table_name, open_records from marts.completeness where open_records > 0 order by table_name"
    )
    records = connection.execute(
        """
        select
            table_name, object, load_id, record, line, id,
            array_to_string(array(select jsonb_array_elements_text(reasons)), ', ')
        from staging.rejected_records
        where status = 'open'
        order by load_id desc, record
        limit %s
        """,
        [limit],
    )
    return dict(counts.fetchall()), [OpenRecord(*row) for row in records]


def missing_references(connection: "Connection") -> list[MissingReference]:
    """Return what valid records wait for, longest wait first; nothing if the mart was never built."""
    if connection.execute("select to_regclass('marts.missing_references')").fetchone() == (None,):
        return []
    rows = connection.execute("""
        select
            table_name, column_name, missing_from, id, waiting, waiting_since,
            extract(epoch from clock_timestamp() - waiting_since)::float / 3600
        from marts.missing_references
        order by waiting_since, table_name, column_name, length(id), id
    """)
    return [MissingReference(*row) for row in rows]


def wrong_columns(connection: "Connection", table: Table) -> list[str]:
    """Return how the columns of a raw table differ from the contract's, one sentence each.

    A column that is not in the contract is allowed if it is optional.
    """
    present = {
        name: (kind, is_required)
        for name, kind, is_required in connection.execute(
            """
            select attname::text, format_type(atttypid, atttypmod), attnotnull and not atthasdef
            from pg_attribute
            where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
            """,
            [f"raw.{table.name}"],
        )
    }
    expected = {"_load_id": "bigint", "_record": "bigint", **dict.fromkeys(table.column_names, "text")}
    wrong = [
        f"{name} is {present[name][0]}, not {kind}" if name in present else f"{name} ({kind}) is missing"
        for name, kind in expected.items()
        if name not in present or present[name][0] != kind
    ]
    return wrong + [
        f"{name} is required, but no object has it"
        for name, (_, is_required) in present.items()
        if is_required and name not in expected
    ]


def waiting(connection: "Connection", marts: Sequence[str]) -> Waiting:
    """Return the complete loads that the marts do not show yet, and how long they have waited.

    Args:
        connection: of a role that reads the ledger and the watermarks.
        marts: the names of all marts.
    """
    unpublished = unpublished_loads(connection, marts)
    if not unpublished:
        return Waiting(0)
    first, since, seconds = connection.execute(
        """
        select load_id, completed_at, extract(epoch from clock_timestamp() - completed_at)::float
        from raw.loads
        where load_id = %s
        """,
        [unpublished[0][0]],
    ).fetchall()[0]
    return Waiting(len(unpublished), first, since, seconds)
