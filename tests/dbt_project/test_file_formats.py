"""The same records in other file formats, through the load engine and dbt, are the same, and so are their metrics."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts import TABLES
from deploy.local.sample import sample
from deploy.local.settings import Settings
from orchestration.ingest.loader import Loaded, load_pending
from tests import file_formats, oracle
from tests.conftest import Bucket, Database, fresh_bucket
from tests.dbt_project.conftest import Dbt, build
from tests.orchestration.ingest.test_workbook import saved

HEADERS = {name: ",".join(columns).encode() + b"\r\n" for name, columns in oracle.COLUMNS.items()}


def as_is(_table: str, text: bytes) -> bytes:
    return text


def with_line_feeds(_table: str, text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n")


def with_a_byte_order_mark(_table: str, text: bytes) -> bytes:
    return b"\xef\xbb\xbf" + text


def with_a_header(table: str, text: bytes) -> bytes:
    return HEADERS[table] + text


def with_a_byte_order_mark_and_a_header(table: str, text: bytes) -> bytes:
    return b"\xef\xbb\xbf" + HEADERS[table].upper() + text


def without_the_last_line_end(_table: str, text: bytes) -> bytes:
    return text.removesuffix(b"\r\n")


def with_integers_as_floats(_table: str, text: bytes) -> bytes:
    """Write 8 as 8.0, as pandas does in a column that lacks a value anywhere."""
    return re.sub(rb"(^|,)([0-9]+)(?=,|\r\n)", rb"\1\2.0", text, flags=re.MULTILINE)


def with_spaces_that_nobody_sees(_table: str, text: bytes) -> bytes:
    return re.sub(rb"(^|,)([0-9]+)(?=,|\r\n)", "\\1\u00a0\\2\u200b".encode(), text, flags=re.MULTILINE)


def packed(_table: str, text: bytes) -> bytes:
    return gzip.compress(text)


Conversion = Callable[[str, bytes], bytes]
CONVERSIONS: tuple[Conversion, ...] = (
    as_is,
    with_line_feeds,
    with_a_byte_order_mark,
    with_a_header,
    with_a_byte_order_mark_and_a_header,
    without_the_last_line_end,
    with_integers_as_floats,
    with_spaces_that_nobody_sees,
    packed,
)


@pytest.fixture(scope="module")
def converted(module_database: Database, module_dbt: Dbt, s3_server: tuple[Settings, Path]) -> Database:
    """A built database with the sample in each of the formats."""
    bucket = fresh_bucket(*s3_server)
    for name, frame in sample().items():
        text = frame.to_csv(header=False, index=False, lineterminator="\r\n").encode()
        for convert in CONVERSIONS:
            suffix = ".gz" if convert is packed else ""
            bucket.put(f"{name}/{convert.__name__}.csv{suffix}", convert(name, text))
    for table in TABLES:
        list(load_pending(module_database.conninfo("hiring_loader"), bucket.client, bucket.name, table))
    build(module_dbt)
    return module_database


def made_of(database: Database, table: str, convert: Conversion) -> list[tuple[Any, ...]]:
    """Return the values and errors of each record in a format."""
    values = {
        "departments": "id, department",
        "jobs": "id, job",
        "hired_employees": "id, name, hired_at, hired_year, hired_quarter, hired_month, department_id, job_id",
    }
    return database.rows(
        f"select _record, {values[table]}, reasons from staging.checked_{table} "
        "where _load_id = (select load_id from raw.loads where key ~ %s) order by _record",
        f"^{table}/{convert.__name__}[.]csv",
    )


@pytest.mark.parametrize("convert", CONVERSIONS[1:])
@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_records_do_not_depend_on_the_file_format(converted: Database, table: str, convert: Conversion) -> None:
    plain = made_of(converted, table, as_is)
    assert len(plain) == len(sample()[table])
    assert made_of(converted, table, convert) == plain


def test_each_table_may_have_a_different_file_format(database: Database, dbt: Dbt, bucket: Bucket) -> None:
    """The metrics are those that pandas makes of the records."""
    frames = {name: frame.astype("string") for name, frame in sample().items()}
    records = {name: frame.fillna("").to_numpy().tolist() for name, frame in frames.items()}
    bucket.put("departments.csv", file_formats.semicolons_of_a_spreadsheet("departments", records["departments"]))
    bucket.put("jobs.xlsx", saved({"Notes": [["mine"]], "Jobs": [file_formats.OTHER_NAMES["jobs"], *records["jobs"]]}))
    bucket.put("hired_employees.csv", file_formats.titles("hired_employees", records["hired_employees"]))

    conninfo = database.conninfo("hiring_loader")
    outcomes = [o for table in TABLES for o in load_pending(conninfo, bucket.client, bucket.name, table)]
    build(dbt)

    loaded = {
        o.item.key.split(".")[0]: (o.totals.records, o.totals.malformed) for o in outcomes if isinstance(o, Loaded)
    }
    assert loaded == {name: (len(frame), 0) for name, frame in frames.items()}
    frames = {name: frame.fillna("") for name, frame in frames.items()}
    hires = database.dicts(
        """
        select department, job, q1 as "Q1", q2 as "Q2", q3 as "Q3", q4 as "Q4" from marts.hires_by_quarter
        where year = 2021 order by department collate "C", job collate "C", department_id, job_id
        """
    )
    above = database.dicts(
        "select id, department, hired from marts.departments_above_mean where year = 2021 order by hired desc, id"
    )
    assert hires == oracle.hires_by_quarter(frames, 2021)
    assert above == oracle.departments_above_mean(frames, 2021)[1]
