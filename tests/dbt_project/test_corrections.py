"""How a rejected record is dealt with: listed, written out, corrected and delivered again, or dismissed."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestration.ingest.__main__ import app
from tests.conftest import Database, environment
from tests.dbt_project.conftest import Dbt, build, deliver, empty

HIRES = """\
1,Ada,2021-01-01T00:00:00Z,1,1
2,Grace,soon,1,1
3,,2021-01-01T00:00:00Z,1,1
x,Mary,2021-01-01T00:00:00Z,1,1
5,Smith, John,2021-01-01T00:00:00Z,1,1
total: 5
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


@pytest.fixture(autouse=True)
def reachable(module_database: Database) -> Iterator[None]:
    """An empty database, for commands too."""
    empty(module_database)
    deliver(module_database, "departments", [("1", "Sales")])
    deliver(module_database, "jobs", [("1", "Clerk")])
    with environment(module_database.environment | {"REJECT_SHARE": "0.9"}):
        yield


@pytest.fixture
def dirty(tmp_path: Path, module_database: Database, module_dbt: Dbt) -> int:
    """A load of six hires of which one is valid; its number."""
    path = tmp_path / "hired_employees.csv"
    path.write_text(HIRES)
    done = run("load", str(path))
    assert done.exit_code == 0, done.output
    build(module_dbt)
    ((load_id,),) = module_database.rows("select max(load_id) from raw.loads")
    return int(load_id)


def statuses(database: Database) -> list[tuple[Any, ...]]:
    return database.rows("select record, status from staging.rejected_records order by load_id, record")


def exported(*arguments: str) -> list[dict[str, str]]:
    done = run("rejected", "--csv", *arguments)
    assert done.exit_code == 0, done.output
    return list(csv.DictReader(io.StringIO(done.stdout, newline="")))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def test_an_export_has_each_record_in_the_columns_of_its_delivery_with_what_is_wrong(dirty: int) -> None:
    rows = exported("--open")
    assert list(rows[0])[:5] == ["id", "name", "datetime", "department_id", "job_id"]
    assert [(row["id"], row["name"], row["_reasons"], row["_line"], row["_text"]) for row in rows] == [
        ("2", "Grace", "datetime:not_a_datetime", "2", ""),
        ("3", "", "name:missing", "3", ""),
        ("x", "Mary", "id:not_an_integer", "4", ""),
        ("5", "Smith", "too_many_fields: has 6 fields instead of 5", "5", "5,Smith, John,2021-01-01T00:00:00Z,1,1"),
        ("total: 5", "", "too_few_fields: has 1 field instead of 5", "6", "total: 5"),
    ]
    assert {(row["_load_id"], row["_object"].rpartition("/")[2]) for row in rows} == {
        (str(dirty), "hired_employees.csv")
    }


def test_a_corrected_export_closes_its_records_whatever_their_ids_and_counts_each_once(
    dirty: int, tmp_path: Path, module_database: Database, module_dbt: Dbt
) -> None:
    *rows, total = exported("--open")
    rows[0]["datetime"] = "2021-02-01"
    rows[1]["name"] = "Hedy"
    rows[2]["id"] = "4"
    rows[3] |= {"name": "Smith, John", "datetime": "2021-01-01", "department_id": "1", "job_id": "1"}
    write(tmp_path / "hired_employees_corrected.csv", rows)
    assert run("load", str(tmp_path / "hired_employees_corrected.csv")).exit_code == 0
    done = run("dismiss", "--load", str(dirty), "--record", total["_record"], "--note", "a line of totals")
    assert done.exit_code == 0, done.output
    assert "dismissed 1 of 5 open records" in " ".join(done.output.split())
    build(module_dbt)

    assert statuses(module_database) == [
        (2, "corrected"), (3, "corrected"), (4, "corrected"), (5, "corrected"), (6, "dismissed")
    ]  # fmt: skip
    assert exported("--open") == []
    assert module_database.rows("select id, name from staging.hired_employees order by id") == [
        (1, "Ada"), (2, "Grace"), (3, "Hedy"), (4, "Mary"), (5, "Smith, John")
    ]  # fmt: skip
    assert module_database.rows("select sum(open_records) from marts.completeness") == [(0,)]
    assert module_database.rows("select sum(q1) from marts.hires_by_quarter") == [(5,)]


def test_a_correction_that_is_wrong_itself_is_open_in_the_place_of_the_first(
    dirty: int, tmp_path: Path, module_dbt: Dbt
) -> None:
    """If it were listed twice, the number of open records would be wrong."""
    write(tmp_path / "hired_employees_2.csv", exported("--open")[:3])
    assert run("load", "--reject-share", "1", str(tmp_path / "hired_employees_2.csv")).exit_code == 0
    build(module_dbt)
    rows = exported("--open")
    assert [(row["_load_id"], row["_record"]) for row in rows] == [
        (str(dirty), "5"), (str(dirty), "6"), (str(dirty + 1), "1"), (str(dirty + 1), "2"), (str(dirty + 1), "3")
    ]  # fmt: skip


def test_a_later_valid_record_of_the_same_id_closes_records_that_its_file_does_not_identify(
    dirty: int, tmp_path: Path, module_database: Database, module_dbt: Dbt
) -> None:
    """An earlier one does not, and neither does an invalid one."""
    later = "2,Grace,2021-01-01,1,1\n3,,2021-01-01,1,1\n5,John,2021-01-01,1,1\n"
    (tmp_path / "hired_employees_b.csv").write_text(later)
    assert run("load", str(tmp_path / "hired_employees_b.csv")).exit_code == 0
    build(module_dbt)
    closed = "select record, status, corrected_by_load_id from staging.rejected_records where load_id = %s order by 1"
    assert module_database.rows(closed, dirty) == [
        (2, "corrected", dirty + 1), (3, "open", None), (4, "open", None), (5, "corrected", dirty + 1),
        (6, "open", None),
    ]  # fmt: skip
    assert module_database.rows(closed, dirty + 1) == [(2, "open", None)]


def test_a_later_load_of_the_same_object_closes_all_that_is_open_of_it(
    dirty: int, tmp_path: Path, module_database: Database, module_dbt: Dbt
) -> None:
    again = run("load", "--again", str(tmp_path / "hired_employees.csv"))
    assert again.exit_code == 0, again.output
    build(module_dbt)
    open_of = "select load_id, count(*) from staging.rejected_records where status = 'open' group by load_id"
    assert module_database.rows(open_of) == [(dirty + 1, 5)]
    (tmp_path / "hired_employees.csv").write_text("1,Ada,2021-01-01T00:00:00Z,1,1\n")
    assert run("load", str(tmp_path / "hired_employees.csv")).exit_code == 0
    build(module_dbt)
    assert module_database.rows(open_of) == []


@pytest.mark.usefixtures("dirty")
def test_a_file_is_of_one_table_and_what_is_not_open_cannot_be_dismissed(
    tmp_path: Path, module_database: Database, module_dbt: Dbt
) -> None:
    (tmp_path / "jobs.csv").write_text("1,Clerk\nx,Cook\n")
    assert run("load", str(tmp_path / "jobs.csv")).exit_code == 0
    build(module_dbt)
    refused = run("rejected", "--open", "--csv")
    assert refused.exit_code == 2
    assert "hired_employees, jobs: name one with --table" in " ".join(refused.output.replace("│", " ").split())
    (row,) = exported("--table", "jobs")
    assert (row["id"], row["job"]) == ("x", "Cook")
    for record in ("1", "99"):
        done = run("dismiss", "--load", row["_load_id"], "--record", record, "--note", "no reason")
        assert done.exit_code == 2
        assert "no open rejected record of load" in " ".join(done.output.replace("│", " ").split())
    assert module_database.rows("select count(*) from raw.corrections") == [(0,)]


def test_the_list_and_the_status_show_open_records(dirty: int) -> None:
    listed = run("rejected", "--open", "--load", str(dirty)).output
    assert 'datetime:not_a_datetime "soon"' in " ".join(listed.split())
    assert run("rejected", "--load", str(dirty + 1)).output.strip() == "no rejected records"
    assert "hired_employees 5 0 0" in " ".join(run("status").output.split())


def test_before_the_first_build_it_is_unknown_which_records_are_rejected() -> None:
    done = run("rejected")
    assert done.exit_code == 1
    assert "nothing is built yet" in str(done.exception)
