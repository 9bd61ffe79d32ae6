"""Whether what is in raw and in the marts is as it should be: figures out of the ledger and the tables, no Dagster."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql

from contracts import Table
from orchestration.ingest.objects import FILES
from orchestration.warehouse.published import unpublished_loads

if TYPE_CHECKING:
    from orchestration.database import Connection

# Hand-written files have a typo in a thousand records; from one in a hundred on, a program that writes them is wrong.
REJECTED_SHARE_TO_LOOK_AT = 0.01
# By then a metric tells of other numbers than the sender has.
REJECTED_SHARE_TOO_MUCH = 0.10
# An outage is waited out for two minutes in a run and a failed run is followed by others within minutes: what waits
# longer than this is not on its way.
PATIENCE_SECONDS = 900
# An object of less than half the records of the one before it was probably cut off, or is of another kind. Small ones
# vary more than that by themselves.
USUAL_SHARE = 0.5
USUAL_RECORDS = 20


@dataclass(frozen=True)
class Discrepancy:
    """Something that does not add up between ledger and records; `record` is None when it is about the whole load."""

    load_id: int
    record: int | None
    complaint: str


@dataclass(frozen=True)
class Share:
    """How many of a load's records are rejected, and for what. `object` is its key in the bucket."""

    load_id: int
    object: str
    records: int
    malformed: int
    invalid: int

    @property
    def share(self) -> float:
        """The rejected among the records, 0 to 1."""
        return (self.malformed + self.invalid) / self.records if self.records else 0.0


@dataclass(frozen=True)
class FailedObject:
    """An object of which nothing counts, because its latest load failed or is held. `since` is when that load began."""

    load_id: int
    object: str
    status: str
    since: datetime
    why: str

    @property
    def why_with_name(self) -> str:
        """Why, as a line that begins with the object's key: most reasons begin with its whole address."""
        before, key, after = self.why.partition(self.object)
        return f"{key}{after}" if key and before.startswith("s3://") else f"{self.object}: {self.why}"


@dataclass(frozen=True)
class Delivery:
    """How many records an object had. `object` is its key in the bucket."""

    load_id: int
    object: str
    records: int


@dataclass(frozen=True)
class OpenRecord:
    """A rejected record that nothing corrects. `object` is null for a batch over HTTP, `id` where it cannot be read."""

    table: str
    object: str | None
    load: int
    record: int
    line: int | None
    id: str | None
    reasons: str


@dataclass(frozen=True)
class MissingReference:
    """An id of another table that is unknown, how many records wait for it, and since when the first of them does."""

    table: str
    column: str
    missing_from: str
    id: str
    waiting: int
    since: datetime
    hours: float


@dataclass(frozen=True)
class Waiting:
    """Complete loads that the marts do not show: how many, the first of them, and since when it is complete."""

    loads: int
    first_load_id: int | None = None
    since: datetime | None = None
    seconds: float = 0.0

    @property
    def is_too_long(self) -> bool:
        """Whether it takes longer than what mends itself."""
        return self.seconds > PATIENCE_SECONDS


def discrepancies(connection: "Connection", limit: int) -> list[Discrepancy]:
    """Return what does not add up in all of raw, at most `limit` of it. About two seconds a million records.

    Raises:
        psycopg.errors.UndefinedTable: there is no view raw.discrepancies: the migrations have not run.
    """
    found = connection.execute("select load_id, record, complaint from raw.discrepancies limit %s", [limit])
    return [Discrepancy(*row) for row in found]


def discrepancies_of_loads(connection: "Connection", table: Table, load_ids: Sequence[int]) -> list[Discrepancy]:
    """Return what does not add up of some complete loads of one table; reads the records of these loads only.

    That no record is missing or there twice is told by the number of records and the sum of their numbers.
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
    """Return what share of each of some complete loads is rejected, the worst first."""
    query = """
        select load_id, key, records, coalesce(malformed, rejected), coalesce(invalid, 0)
        from raw.loads
        where load_id = any(%s) and status = 'complete'
        order by rejected::float / greatest(records, 1) desc, load_id
    """
    return [Share(*row) for row in connection.execute(query, [list(load_ids)])]


def failed_objects(connection: "Connection", table: Table) -> list[FailedObject]:
    """Return the objects in the bucket whose latest load failed or is held, those that failed last first.

    A load that was abandoned, or is under way, decides nothing: what was there before it still holds.
    """
    rows = connection.execute(
        """
        select load_id, key, status, started_at, coalesce(error, '')
        from raw.loads as failed
        where
            table_name = %(table)s and source = 'object' and bucket <> %(files)s and status in ('failed', 'held')
            and not exists (
                select from raw.loads as later
                where
                    (later.bucket, later.key) = (failed.bucket, failed.key) and later.load_id > failed.load_id
                    and later.status in ('complete', 'failed', 'held')
            )
        order by load_id desc
        """,
        {"table": table.name, "files": FILES},
    )
    return [FailedObject(*row) for row in rows]


def last_deliveries(connection: "Connection", table: Table) -> list[Delivery]:
    """Return the newest object of a table that was read whole, and after it the complete one before it, if any."""
    rows = connection.execute(
        """
        with newest as (
            select load_id, key, records
            from raw.loads
            where table_name = %(table)s and source = 'object' and status in ('complete', 'held')
            order by load_id desc
            limit 1
        ),
        before as (
            select loads.load_id, loads.key, loads.records
            from raw.loads, newest
            where
                table_name = %(table)s and source = 'object' and status = 'complete'
                and loads.load_id < newest.load_id
            order by load_id desc
            limit 1
        )
        select * from newest
        union all
        select * from before
        """,
        {"table": table.name},
    )
    return [Delivery(*row) for row in rows]


def is_of_usual_size(deliveries: Sequence[Delivery]) -> bool:
    """Return whether the first of two deliveries has about as many records as the one before it, or more."""
    if len(deliveries) < 2:
        return True
    newest, before = deliveries
    return before.records < USUAL_RECORDS or newest.records >= USUAL_SHARE * before.records


def open_records(connection: "Connection", limit: int) -> tuple[dict[str, int], list[OpenRecord]]:
    """Return how many rejected records are open by table, without tables that have none, and the latest of them.

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
    """Return what valid records wait for, the longest awaited first; nothing where the mart was never built."""
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
    """Return what is wrong with the columns of a raw table, a sentence each: it has to be what objects deliver.

    A column that the contract does not know is none of it, as long as it may be left empty.
    """
    there = {
        name: (kind, has_to_be_given)
        for name, kind, has_to_be_given in connection.execute(
            """
            select attname::text, format_type(atttypid, atttypmod), attnotnull and not atthasdef
            from pg_attribute
            where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
            """,
            [f"raw.{table.name}"],
        )
    }
    agreed = {"_load_id": "bigint", "_record": "bigint", **dict.fromkeys(table.column_names, "text")}
    wrong = [
        f"{name} is {there[name][0]}, not {kind}" if name in there else f"{name} ({kind}) is missing"
        for name, kind in agreed.items()
        if name not in there or there[name][0] != kind
    ]
    return wrong + [
        f"{name} has to be given, and no object has it"
        for name, (_, has_to_be_given) in there.items()
        if has_to_be_given and name not in agreed
    ]


def waiting(connection: "Connection", marts: Sequence[str]) -> Waiting:
    """Return which complete loads wait to be shown by the marts, and for how long.

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
