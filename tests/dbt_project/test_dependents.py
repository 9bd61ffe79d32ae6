"""Other people's views of the models, and their grants, survive every build."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from contracts import TABLES, Column
from deploy.local.postgres import EmbeddedPostgres
from orchestration.dbt.generated import write_generated
from orchestration.dbt.project import BUILD, PROJECT
from tests.conftest import Database
from tests.dbt_project.conftest import Dbt, build, deliver, running_dbt, unsuccessful

FULL_REFRESH = (*BUILD, "--full-refresh")


@pytest.fixture(scope="module", autouse=True)
def _people(postgres: EmbeddedPostgres) -> Iterator[None]:
    """A role that reads, and one that creates its own views."""
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        connection.execute("create role reader; create role analyst")
        yield
        connection.execute("drop role reader; drop role analyst")


@pytest.fixture
def built(database: Database, dbt: Dbt) -> Iterator[Database]:
    """A built database with views and rights that no build knows of."""
    deliver(database, "departments", [("1", "Sales")])
    deliver(database, "jobs", [("1", "Clerk")])
    deliver(database, "hired_employees", [("1", "Ada", "2021-05-05", "1", "1")])
    build(dbt)
    database.execute(
        """
        create schema bi authorization analyst;
        grant usage on schema staging, marts to reader, analyst;
        grant select on staging.hired_employees, marts.hires_by_quarter to analyst with grant option;
        grant select on staging.hired_employees, staging.rejected_records, marts.hires_by_quarter to reader;
        grant select (id, name) on staging.checked_hired_employees to reader;
        set role analyst;
        create view bi.names as select id, name from staging.hired_employees;
        create materialized view bi.totals as select year, sum(q1 + q2 + q3 + q4) as hired
        from marts.hires_by_quarter group by year;
        """
    )
    yield database
    database.execute("drop owned by reader, analyst cascade")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project, to be changed."""
    folder = tmp_path / "dbt_project"
    shutil.copytree(PROJECT.project_dir, folder, ignore=shutil.ignore_patterns("target", "logs", "generated"))
    write_generated(folder)
    return folder


def objects(database: Database) -> dict[str, tuple[int, Any]]:
    """Return every relation of the models and of the analyst: its identity, and who may do what with it."""
    found = database.rows(
        "select relname::text, pg_class.oid::int, relacl::text from pg_class "
        "inner join pg_namespace on pg_namespace.oid = relnamespace "
        "where nspname in ('staging', 'marts', 'bi') and relkind in ('r', 'v', 'm') and relpersistence = 'p'"
    )
    return {name: (oid, acl) for name, oid, acl in found}


def may_read(database: Database, *relations: str) -> bool:
    return all(
        database.rows("select has_table_privilege('reader', %s, 'select')", relation) == [(True,)]
        for relation in relations
    )


def sentence(dbt: Dbt, *arguments: str) -> str:
    """Return what a build that has to fail says of the one model that failed."""
    (message,) = [each.message for each in dbt(*arguments).result if each.status == "error"]
    return " ".join(message.split())


@pytest.mark.parametrize("arguments", [BUILD, FULL_REFRESH])
def test_a_build_leaves_every_relation_where_it_is(built: Database, dbt: Dbt, arguments: tuple[str, ...]) -> None:
    """Only its readers notice a report that disappears at 03:30."""
    before = objects(built)
    deliver(built, "hired_employees", [("2", "Bob", "2021-05-05", "1", "1")])
    build(dbt, *arguments)
    assert objects(built) == before
    assert built.rows("select name from bi.names order by id") == [("Ada",), ("Bob",)]
    built.execute("refresh materialized view bi.totals")
    assert built.rows("select hired from bi.totals") == [(2,)]


def test_a_new_column_of_the_contract_comes_to_tables_and_views_that_stay_where_they_are(
    built: Database, copy: Path, tmp_path: Path
) -> None:
    built.execute("alter table raw.hired_employees add column email text")
    built.execute("update raw.hired_employees set email = 'ada@example.org'")
    email = Column("email", description="Address of the person.", required=False)
    more = [
        replace(each, columns=(*each.columns, email)) if each.name == "hired_employees" else each for each in TABLES
    ]
    write_generated(copy, more)
    before = objects(built)
    with running_dbt(built, tmp_path / "target", copy) as run:
        build(run, *FULL_REFRESH)
        assert objects(built) == before
        assert built.rows("select name, email from staging.hired_employees") == [("Ada", "ada@example.org")]
        assert built.rows("select name from bi.names") == [("Ada",)]
        build(run)
    described = "select col_description('staging.hired_employees'::regclass, attnum) from pg_attribute"
    assert built.rows(f"{described} where attrelid = 'staging.hired_employees'::regclass and attname = 'email'") == [
        ("Address of the person.",)
    ]


LETTERS = """
{{ config(
    materialized='differential',
    unique_key=['id'],
    contract={'enforced': true},
    meta={'indexes': ['(letter)']},
) }}
"""
LETTERS_YML = """
version: 2
models:
  - name: letters
    constraints: [{type: primary_key, columns: [id]}]
    columns:
"""


@pytest.fixture
def letters(database: Database, copy: Path, tmp_path: Path) -> Iterator["Letters"]:
    """A separate model, a view of it and a view of that, built, with other people's views of them."""
    model = Letters(database, copy, tmp_path / "target")
    model.declare("1::integer as id, 'a'::text as letter, 7::integer as number", number="integer")
    model.view("shown", "select id, letter, number from {{ ref('letters') }}")
    model.view("listed", "select id, letter from {{ ref('shown') }}")
    with model.dbt() as dbt:
        build(dbt, *model.command())
    database.execute(
        """
        create schema bi;
        grant select on staging.letters, staging.shown, staging.listed to reader;
        create view bi.names as select letter from staging.listed;
        create materialized view bi.totals as select sum(number) as total from staging.letters;
        """
    )
    yield model
    database.execute("drop owned by reader, analyst cascade")


class Letters:
    """A copy of the project with a model of letters, whose text is the test's to change."""

    def __init__(self, database: Database, project: Path, target: Path) -> None:
        self.database = database
        self.folder = project / "models" / "staging"
        self.project = project
        self.target = target

    def declare(self, select: str, *, head: str = LETTERS, **columns: str) -> None:
        """Write the model: id and letter, which are always there, and further columns by their types."""
        (self.folder / "letters.sql").write_text(f"{head}\nselect {select}\n")
        described = [
            f"      - {{name: {name}, data_type: {kind}, constraints: [{{type: not_null}}]}}\n"
            for name, kind in {"id": "integer", "letter": "text", **columns}.items()
        ]
        (self.folder / "letters.yml").write_text(LETTERS_YML + "".join(described))

    def view(self, name: str, query: str) -> None:
        """Write a view."""
        (self.folder / f"{name}.sql").write_text(query)

    def dbt(self) -> Any:
        """Run dbt on the current state of the project."""
        return running_dbt(self.database, self.target, self.project)

    @staticmethod
    def command(*options: str) -> tuple[str, ...]:
        """Return the command that builds the models of letters."""
        return ("run", "--select", "letters+", *options)


def columns(database: Database, relation: str) -> dict[str, tuple[str, bool]]:
    """Return the type of each column, and whether it refuses nulls."""
    found = database.rows(
        "select attname::text, format_type(atttypid, atttypmod), attnotnull from pg_attribute "
        "where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
        relation,
    )
    return {name: (kind, is_required) for name, kind, is_required in found}


def test_a_column_that_others_do_not_use_goes_and_they_stay(letters: Letters) -> None:
    database = letters.database
    before = objects(database)
    letters.view("shown", "select id, letter, 7 as number from {{ ref('letters') }}")
    database.execute("drop materialized view bi.totals; create view bi.alphabet as select letter from staging.letters")
    with letters.dbt() as dbt:
        build(dbt, *letters.command())
        letters.declare("1::integer as id, 'b'::text as letter")
    with letters.dbt() as dbt:
        build(dbt, *letters.command("--full-refresh"))
    after = objects(database)
    assert {name: after[name] for name in before if name != "totals"} == {
        name: found for name, found in before.items() if name != "totals"
    }
    assert columns(database, "staging.letters") == {"id": ("integer", True), "letter": ("text", True)}
    assert database.rows("select letter from bi.alphabet") == [("b",)]


def test_a_column_that_others_use_stays_until_the_build_may_drop_what_they_made(letters: Letters) -> None:
    """Readers of a silently dropped view would search for the error on their side."""
    database = letters.database
    before = objects(database)
    letters.declare("1::integer as id, 'a'::text as letter, 8::bigint as number", number="bigint")
    with letters.dbt() as dbt:
        assert (
            "staging.letters (number is bigint instead of integer) cannot change while materialized view bi.totals "
            "and view bi.names would be lost with it: alter or drop those, or launch the job rebuild_marts with "
            "drop_dependents: true."
        ) in sentence(dbt, *letters.command("--full-refresh"))
        assert objects(database) == before
        assert columns(database, "staging.letters")["number"] == ("integer", True)

        warnings: list[str] = []
        allowed = ("--full-refresh", "--vars", "{drop_dependents: true}")
        result = dbt(
            *letters.command(*allowed),
            listen=lambda event: warnings.append(event.info.msg) if event.info.level == "warn" else None,
        )
        assert result.success, unsuccessful(result)
        assert "dropped with it: materialized view bi.totals, view bi.names." in " ".join(" ".join(warnings).split())
        build(dbt, *letters.command("--full-refresh"))
    assert {*before} - {*objects(database)} == {"totals", "names"}
    assert may_read(database, "staging.letters", "staging.shown", "staging.listed")


def test_a_type_that_changes_keeps_the_table_and_the_rights_on_the_projects_own_views(letters: Letters) -> None:
    database = letters.database
    database.execute("drop schema bi cascade")
    before = objects(database)
    letters.declare("1::integer as id, 'b'::text as letter, 8::bigint as number", number="bigint")
    with letters.dbt() as dbt:
        # The views' own models come later, or, where a gate fails, not at all.
        build(dbt, "run", "--select", "letters", "--full-refresh")
        assert database.rows("select * from staging.shown") == [(1, "b", 8)]
        assert may_read(database, "staging.shown", "staging.listed")
        build(dbt, *letters.command("--full-refresh"))
    assert objects(database)["letters"] == before["letters"]
    assert {name: acl for name, (_, acl) in objects(database).items()} == {
        name: acl for name, (_, acl) in before.items()
    }
    assert columns(database, "staging.letters") == {
        "id": ("integer", True), "letter": ("text", True), "number": ("bigint", True)
    }  # fmt: skip


def test_a_view_with_other_columns_is_made_again_with_its_rights_unless_others_use_it(letters: Letters) -> None:
    database = letters.database
    letters.view("shown", "select id, letter from {{ ref('letters') }}")
    letters.view("listed", "select letter || '!' as letter from {{ ref('shown') }}")
    with letters.dbt() as dbt:
        (message,) = [each.message for each in dbt(*letters.command()).result if each.status == "error"]
        assert "staging.shown (number is gone) cannot change while view bi.names would be lost with it" in message
        assert database.rows("select * from bi.names") == [("a",)]
        database.execute("drop view bi.names")
        build(dbt, *letters.command())
    assert [*columns(database, "staging.shown")] == ["id", "letter"]
    assert database.rows("select * from staging.listed") == [("a!",)]
    assert may_read(database, "staging.shown", "staging.listed")


def test_a_view_keeps_the_order_of_its_columns_when_one_is_new(letters: Letters) -> None:
    database = letters.database
    before = objects(database)
    letters.view("listed", "select 1 as first, letter, id from {{ ref('shown') }}")
    with letters.dbt() as dbt:
        build(dbt, *letters.command())
    assert objects(database) == before
    assert [*columns(database, "staging.listed")] == ["id", "letter", "first"]


def test_a_new_key_and_new_indexes_come_with_a_full_refresh(letters: Letters) -> None:
    """A table that kept the key of before would refuse rows that are right."""
    database = letters.database
    before = objects(database)
    (letters.folder / "letters.yml").write_text(LETTERS_YML.replace("[id]", "[id, letter]"))
    head = LETTERS.replace("['(letter)']", "['(letter)', '(number) where number > 0']")
    head = head.replace("contract={'enforced': true},", "").replace("['id']", "['id', 'letter']")
    letters.declare("1::integer as id, unnest('{a,b}'::text[]) as letter, 7 as number", head=head, number="integer")
    yml = letters.folder / "letters.yml"
    yml.write_text(yml.read_text().replace("columns: [id]", "columns: [id, letter]"))
    with letters.dbt() as dbt:
        build(dbt, *letters.command("--full-refresh"))
        build(dbt, *letters.command("--full-refresh"))
    assert objects(database) == before
    indexes = database.rows("select indexdef from pg_indexes where tablename = 'letters' order by 1")
    assert [definition.split(" USING ")[1] for (definition,) in indexes] == [
        "btree (letter)", "btree (number) WHERE (number > 0)", "btree (id, letter)"
    ]  # fmt: skip


def test_a_build_that_ended_between_its_two_steps_is_continued(letters: Letters) -> None:
    database = letters.database
    database.execute("drop schema bi cascade")
    letters.declare("1::integer as id, 'a'::text as letter, 8::bigint as number", number="bigint")
    database.execute("alter table staging.letters add column number__new bigint, alter column number drop not null")
    with letters.dbt() as dbt:
        build(dbt, *letters.command("--full-refresh"))
    assert database.rows("select * from staging.letters") == [(1, "a", 8)]
    assert columns(database, "staging.letters")["number"] == ("bigint", True)


def test_a_model_that_becomes_a_table_keeps_its_rights(letters: Letters) -> None:
    database = letters.database
    letters.view(
        "listed",
        "{{ config(materialized='differential', unique_key=['id']) }} select id, letter from {{ ref('shown') }}",
    )
    with letters.dbt() as dbt:
        assert "staging.listed (a table in its place) cannot change while view bi.names" in sentence(
            dbt, *letters.command()
        )
        database.execute("drop view bi.names")
        build(dbt, *letters.command())
        assert may_read(database, "staging.listed")
        letters.view("listed", "select id, letter from {{ ref('shown') }}")
    with letters.dbt() as dbt:
        build(dbt, *letters.command())
    assert may_read(database, "staging.listed")
    assert objects(database)["shown"]


def test_default_privileges_are_given_on_what_a_build_makes(database: Database, dbt: Dbt) -> None:
    database.execute(
        "alter default privileges for role hiring_transformer in schema staging grant select on tables to reader"
    )
    build(dbt, "run", "--select", "loads departments checked_departments")
    assert may_read(database, "staging.loads", "staging.departments")
    database.execute("drop owned by reader")
