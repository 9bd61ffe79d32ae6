"""The same records in other file formats, through the load engine and dbt, give the same metrics."""

import gzip
import re
from collections.abc import Callable

import pandas as pd
import pytest

from contracts import TABLES
from deploy.local.sample import sample
from orchestration.ingest.loader import Loaded, load_pending
from tests import file_formats, oracle
from tests.conftest import Bucket, Database
from tests.dbt_project.conftest import Dbt
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


@pytest.mark.parametrize(
    "convert",
    [
        as_is,
        with_line_feeds,
        with_a_byte_order_mark,
        with_a_header,
        with_a_byte_order_mark_and_a_header,
        without_the_last_line_end,
        with_integers_as_floats,
        with_spaces_that_nobody_sees,
        packed,
    ],
)
def test_metrics_do_not_depend_on_the_file_format(
    convert: Callable[[str, bytes], bytes], database: Database, dbt: Dbt, bucket: Bucket
) -> None:
    frames = {name: frame.astype("string") for name, frame in sample().items()}
    for name, frame in frames.items():
        text = frame.to_csv(header=False, index=False, lineterminator="\r\n").encode()
        bucket.put(f"{name}.csv{'.gz' if convert is packed else ''}", convert(name, text))

    assert_metrics_of(frames, database, dbt, bucket)


def test_each_table_may_have_a_different_file_format(database: Database, dbt: Dbt, bucket: Bucket) -> None:
    frames = {name: frame.astype("string") for name, frame in sample().items()}
    records = {name: frame.fillna("").to_numpy().tolist() for name, frame in frames.items()}
    bucket.put("departments.csv", file_formats.semicolons_of_a_spreadsheet("departments", records["departments"]))
    bucket.put("jobs.xlsx", saved({"Notes": [["mine"]], "Jobs": [file_formats.OTHER_NAMES["jobs"], *records["jobs"]]}))
    bucket.put("hired_employees.csv", file_formats.titles("hired_employees", records["hired_employees"]))
    assert_metrics_of(frames, database, dbt, bucket)


def assert_metrics_of(frames: dict[str, pd.DataFrame], database: Database, dbt: Dbt, bucket: Bucket) -> None:
    """Load a bucket, build the models, and compare with what pandas makes of the records."""
    conninfo = database.conninfo("hiring_loader")
    outcomes = [o for table in TABLES for o in load_pending(conninfo, bucket.client, bucket.name, table)]
    assert dbt("build", "--exclude-resource-type", "unit_test").success

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
