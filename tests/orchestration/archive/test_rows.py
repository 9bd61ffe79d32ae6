"""Every value of a column survives the round trip from Postgres through Parquet to Postgres."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from orchestration.archive import rows
from orchestration.database import Connection, connect
from tests.conftest import Database

COPIED, COPY = sql.Identifier("copied"), sql.Identifier("copy_of_it")
COLUMNS = "number bigint, small integer, words text, more text, data bytea, at timestamptz, names text[], odd numeric"

# Postgres has no NUL in texts, and UTF-8 no lone surrogates.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(
    [
        "",
        "NULL",
        "null",
        "\\N",
        "\\.",
        '"',
        '""',
        "\n",
        "\r\n",
        "\r",
        ",",
        " ",
        "\\",
        "\\x00",
        "{a,b}",
        "\ufeff",
        "é,\n",
    ]
)
moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
records = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | texts,
    st.none() | texts,
    st.none() | st.binary(max_size=20),
    st.none() | moments,
    st.none() | st.lists(st.none() | texts, max_size=4),
    st.none() | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=3),
)


@pytest.fixture(scope="module")
def connection(module_database: Database) -> Iterator[Connection]:
    """A session with two tables that have a column of every type."""
    with connect(module_database.conninfo()) as opened:
        for name in (COPIED, COPY):
            opened.execute(sql.SQL("create temporary table {} (" + COLUMNS + ")").format(name))
        yield opened


def schema() -> pa.Schema:
    names = [column.split()[0] for column in COLUMNS.split(", ")]
    kinds = [
        column.partition(" ")[2].replace("timestamptz", "timestamp with time zone") for column in COLUMNS.split(", ")
    ]
    return pa.schema([(name, rows.KINDS.get(kind, pa.string())) for name, kind in zip(names, kinds, strict=True)])


def through_parquet(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for table in tables:
        file = io.BytesIO()
        pq.write_table(table, file)
        yield pq.read_table(file)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records, max_size=8))
@example([(None,) * 8, (0, 0, "", "", b"", datetime(2021, 1, 1, microsecond=1, tzinfo=UTC), [], None)])
def test_every_value_survives_the_round_trip(connection: Connection, given: list[tuple[Any, ...]]) -> None:
    with connection.transaction(force_rollback=True):
        for record in given:
            connection.execute("insert into copied values (%s, %s, %s, %s, %s, %s, %s, %s)", record)
        found = list(rows.read(connection, COPIED, schema(), sql.SQL("true")))
        rows.write(connection, COPY, schema(), through_parquet(iter(found)))
        (before,), (after,) = (
            connection.execute(f"select array_agg(t::text order by t::text) from {name} as t").fetchall()
            for name in ("copied", "copy_of_it")
        )
        assert after == before


def test_a_table_of_any_size_is_read_in_blocks(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK_BYTES", 1000)
    with connection.transaction(force_rollback=True):
        connection.execute("insert into copied (number, words) select n, e'\"\\n' from generate_series(1, 1000) as n")

        found = list(rows.read(connection, COPIED, schema(), sql.SQL("true")))

    assert len(found) > 10
    assert all(table.num_rows < 200 for table in found)
    assert sorted(number for table in found for number in table.column("number").to_pylist()) == list(range(1, 1001))


def test_values_have_their_own_types_in_parquet(module_database: Database) -> None:
    """Other readers of an export get timestamps, bytes and lists, not text."""
    with connect(module_database.conninfo("hiring_loader")) as connection:
        loads, rejected = (rows.schema_of(connection, table) for table in ("loads", "rejected_records"))
    assert loads.field("load_id").type == pa.int64()
    assert loads.field("started_at").type == pa.timestamp("us", "UTC")
    assert loads.field("columns").type == pa.list_(pa.string())
    assert rejected.field("raw").type == pa.binary()
