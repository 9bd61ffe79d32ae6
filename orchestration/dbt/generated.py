"""Generates dbt's files from the contract, in dbt_project/generated.

dbt reads sources, models and their columns from files when it parses the project. These files are generated from the
contract before that, so that a new table or column requires no other edit. A model in dbt_project/models replaces the
generated one of the same name; its description and tests stay generated.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

import yaml

from contracts import TABLES, Column, Delivery, LogicalType, Table

PROJECT_DIR = Path(__file__).parents[2] / "dbt_project"
FOLDER = "generated"
STAGING, INTERMEDIATE, MACROS = Path("models/staging"), Path("models/intermediate"), Path("macros")

HEAD = "Written from contracts/hiring.odcs.yaml by orchestration/dbt/generated.py; changes here are lost."
LOAD = "The load that brought the record (raw.loads)."
DELIVERED = "delivered"
# Read by the macro grant_to_reader.
HIDDEN = {"meta": {"personal": True}}
RECORD = "Number of the record in its object or batch, from 1."
LAST_LOAD = "select max(completed_at) from raw.loads where status = 'complete' and table_name = '{{ this.identifier }}'"


def write_generated(project_dir: Path = PROJECT_DIR, tables: Sequence[Table] = TABLES) -> None:
    """Update dbt_project/generated from the contract; files that do not differ are not written.

    Several processes may do so concurrently, also while dbt reads the files: each file is replaced atomically.

    Args:
        project_dir: the folder of the dbt project.
        tables: those of the contract.
    """
    folder = project_dir / FOLDER
    files = {folder / path: text for path, text in _files(tables)}
    handwritten = {path.name for path in (project_dir / "models").rglob("*.sql")}
    files = {path: text for path, text in files.items() if path.name not in handwritten}
    for path, text in files.items():
        if not path.exists() or path.read_text() != text:
            _replace(folder, path, text)
    for parent in (MACROS, STAGING, INTERMEDIATE):
        for path in set((folder / parent).glob("*")) - files.keys():
            path.unlink(missing_ok=True)


def _replace(folder: Path, path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not in one of the subfolders that dbt reads.
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".new-", delete=False) as draft:
        draft.write(text)
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(path)


def _files(tables: Sequence[Table]) -> Iterator[tuple[Path, str]]:
    """Yield the path relative to the folder and the content of each file."""
    yield MACROS / "contract.sql", _contract(tables)
    yield STAGING / "_sources.yml", _yml({"sources": [_source(tables)]})
    for table in tables:
        yield STAGING / f"checked_{table.name}.sql", _sql(f"{{{{ checked('{table.name}') }}}}")
        yield STAGING / f"checked_{table.name}.yml", _yml({"models": [_checked(table)]})
        yield INTERMEDIATE / f"{table.name}.sql", _sql(f"{{{{ accepted('{table.name}') }}}}")
        yield INTERMEDIATE / f"{table.name}.yml", _yml({"models": [_accepted(table)]})


def _sql(text: str) -> str:
    return f"-- {HEAD}\n{text}\n"


def _yml(content: Mapping[str, Any]) -> str:
    text = yaml.safe_dump({"version": 2, **content}, sort_keys=False, allow_unicode=True, width=120)
    return f"# {HEAD}\n{text}"


def _contract(tables: Sequence[Table]) -> str:
    """Return macros that return the contract as data for the models."""
    data = {table.name: [column_data(column) for column in table.columns] for table in tables}
    snapshots = [table.name for table in tables if _is_snapshot(table)]
    return _sql("\n\n".join([_macro("contract", data), _macro("snapshot_tables", snapshots)]))


def _macro(name: str, value: Any) -> str:
    """Return a macro that returns a value."""
    return f"{{% macro {name}() %}}\n{{{{ return({pformat(value, sort_dicts=False)}) }}}}\n{{% endmacro %}}"


def column_data(column: Column) -> dict[str, Any]:
    """Return a column as data for the macros in dbt_project/macros."""
    table, key = column.references or (None, None)
    return {
        "name": column.name,
        "value": _name(column),
        "type": str(column.logical_type),
        "required": column.required,
        "primary_key": column.primary_key,
        "minimum": column.minimum,
        "maximum": column.maximum,
        "formats": [*column.formats],
        "personal": column.personal,
        "table": table,
        "key": key,
    }


def _name(column: Column) -> str:
    """Return a column's name in the models."""
    return column.business_name or column.name


def _source(tables: Sequence[Table]) -> dict[str, Any]:
    return {
        "name": "raw",
        "description": "Records as delivered, as text, and the ledger of their loads.",
        "schema": "raw",
        # Rows of raw have no timestamp, but the ledger has one per load. A table without any delivery is stale, too.
        "config": {"loaded_at_query": LAST_LOAD},
        "tables": [_source_table(table) for table in tables],
    }


def _source_table(table: Table) -> dict[str, Any]:
    columns = [(column.name, f"{column.description} As delivered.") for column in table.columns]
    days = table.frequency_days
    freshness = {"warn_after": {"count": days, "period": "day"}} if days else None
    return {
        "name": table.name,
        "description": f"{table.description} One row per delivered record, as text.",
        "config": {"freshness": freshness},
        "columns": _described([("_load_id", LOAD), ("_record", RECORD), *columns]),
    }


def _checked(table: Table) -> dict[str, Any]:
    one = _one(table)
    withdrawn = f", withdrawn if the newest object lacks its {_name(table.key)}" if _is_snapshot(table) else ""
    waits = ", waiting if a record that it refers to is not known yet" if _references(table) else ""
    several = f"{one}s" if table.business_name else one
    tests = [
        _test("each_record_once", f"each_{one}_once", table=table.name),
        _test("loads_are_accounted_for", f"{one}_loads_are_accounted_for", table=table.name),
        _test("one_record_counts_an_id", f"one_record_counts_a_{one}", id=_name(table.key)),
    ]
    if _is_snapshot(table):
        name = f"withdrawn_{several}_are_not_delivered"
        tests.append(_test("withdrawn_records_are_not_delivered", name, table=table.name))
    if _references(table):
        tests.append(_test("records_wait_for_what_is_unknown", f"{several}_wait_for_what_is_unknown", table=table.name))
    columns = [
        ("_load_id", LOAD),
        ("_record", RECORD),
        *_values(table, " Null if it breaks a rule."),
        ("reasons", "What is wrong, as field:reason; empty for a valid record."),
        (
            "disposition",
            f"rejected if a field is wrong, superseded if a later valid record has the same {_name(table.key)}"
            f"{withdrawn}{waits}, else accepted.",
        ),
        (DELIVERED, "The fields of a rejected record as delivered, null for any other."),
        ("_build", "Number of the build of this model that last changed the row."),
    ]
    return {
        "name": f"checked_{table.name}",
        "description": f"One row per delivered {one} of a complete load, with its errors and its disposition.",
        "data_tests": tests,
        "columns": _described(columns),
    }


def _test(test: str, name: str, **arguments: str) -> dict[str, Any]:
    return {test: {"name": name, "arguments": arguments}}


def _accepted(table: Table) -> dict[str, Any]:
    known = "; everything that it refers to is known" if _references(table) else ""
    return {
        "name": table.name,
        "description": f"One row per accepted {_one(table)}, according to its latest valid record{known}.",
        "columns": _described([*_values(table), ("_load_id", LOAD)]),
    }


def _values(table: Table, remark: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and description of a model's columns with delivered values, and of those derived from them."""
    for column in table.columns:
        yield _name(column), f"{column.description}{remark}"
    for column in table.columns:
        if column.logical_type is LogicalType.TIMESTAMP:
            stem = _name(column).removesuffix("_at")
            yield f"{stem}_year", f"Year of {_name(column)} in UTC."
            yield f"{stem}_quarter", f"Quarter of {_name(column)} in UTC, 1 to 4."
            yield f"{stem}_month", f"Month of {_name(column)} in UTC, 1 to 12."


def _one(table: Table) -> str:
    return table.business_name or table.name


def _references(table: Table) -> bool:
    return any(column.references for column in table.columns)


def _is_snapshot(table: Table) -> bool:
    return table.delivery is Delivery.SNAPSHOT


def _described(columns: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "description": " ".join(text.split()), **({"config": HIDDEN} if name == DELIVERED else {})}
        for name, text in columns
    ]


if __name__ == "__main__":
    write_generated()
