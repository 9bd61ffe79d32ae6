"""The tables of raw as the contract declares them: what it has more is added, and nothing is ever dropped."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from contracts import TABLES, Table
from contracts.tables import CONTRACT, ContractError

# Who may do what in a table of the contract. hiring_api may do nothing: raw.store_batch inserts for it.
RIGHTS = {
    "hiring_loader": sql.SQL("select, insert"),
    "hiring_transformer": sql.SQL("select"),
    "hiring_restorer": sql.SQL("select, insert, delete"),
}
# Columns that every table has in front of those that are delivered.
LOAD_COLUMNS = {
    "_load_id": "The load that brought it (raw.loads)",
    "_record": "Record number in its object or batch, from 1",
}
PRESENT = """
    select c.relname, a.attname, format_type(a.atttypid, null)
    from pg_attribute as a
    inner join pg_class as c on a.attrelid = c.oid
    where
        c.relnamespace = to_regnamespace('raw') and c.relkind in ('r', 'p', 'v', 'm', 'f')
        and a.attnum > 0 and not a.attisdropped
"""

Connection = psycopg.Connection[Any]


def follows_newer_contract(connection: Connection, version: str) -> bool:
    """Return whether the database has columns of a later version of the contract than this one, as after a roll-back.

    Args:
        connection: of the role that owns schema raw.
        version: of this project's contract.
    """
    found = connection.execute("select contract_version from raw.contract_columns").fetchall()
    return any(_order(other) > _order(version) for (other,) in found)


def follow_contract(connection: Connection, tables: Sequence[Table], version: str) -> None:
    """Add the tables and columns that raw lacks, and comment on all of them as the contract describes them.

    Args:
        connection: in a transaction, of the role that owns schema raw.
        tables: of the contract.
        version: of the contract.

    Raises:
        ContractError: raw has tables or columns of the contract that it declares no more, or others by their names.
    """
    present = {(table, column): kind for table, column, kind in connection.execute(PRESENT).fetchall()}
    recorded = connection.execute("select table_name, column_name from raw.contract_columns").fetchall()
    known = set(recorded) & present.keys()
    _refuse_lost(known, tables)
    for table, column in set(recorded) - known:
        # Dropped by hand; what the contract still has is added again.
        connection.execute(
            "delete from raw.contract_columns where table_name = %s and column_name = %s", [table, column]
        )
    for table in tables:
        if not any(owner == table.name for owner, _ in known):
            _create(connection, table, present)
        else:
            _add_columns(connection, table, present)
        connection.cursor().executemany(
            "insert into raw.contract_columns values (%s, %s, %s) on conflict do nothing",
            [(table.name, column, version) for column in table.column_names],
        )
        _comment(connection, table)


def missing_columns(connection: Connection, tables: Sequence[Table] = TABLES) -> list[str]:
    """Return the columns of the contract that raw lacks, each with its table.

    Args:
        connection: of any role.
        tables: of the contract.
    """
    present = {(table, column) for table, column, _ in connection.execute(PRESENT).fetchall()}
    return [
        f"raw.{table.name}.{column}"
        for table in tables
        for column in table.column_names
        if (table.name, column) not in present
    ]


def _refuse_lost(known: set[tuple[str, str]], tables: Sequence[Table]) -> None:
    declared = {table.name: table.column_names for table in tables}
    for table, column in sorted(known):
        if table not in declared:
            raise ContractError(
                f"{CONTRACT.name} lacks table {table}, whose records raw.{table} holds: declare it again; to give its "
                f"records up for good, drop table raw.{table} cascade by hand first"
            )
        if column not in declared[table]:
            raise ContractError(
                f"{CONTRACT.name} lacks column {column} of table {table}, whose values raw.{table} holds: declare it "
                "again, and give it synonyms for other names in headers; to give its values up for good, drop "
                f"raw.{table}.{column} by hand first"
            )


def _create(connection: Connection, table: Table, present: dict[tuple[str, str], str]) -> None:
    if any(owner == table.name for owner, _ in present):
        raise ContractError(
            f"{CONTRACT.name} declares table {table.name}, but raw.{table.name} is another table: call it otherwise"
        )
    relation = sql.Identifier("raw", table.name)
    connection.execute(
        sql.SQL("create table {} (_load_id bigint not null, _record bigint not null, {})").format(
            relation, sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in table.column_names)
        )
    )
    # Records lie in the order in which they came: a summary of each few pages finds a load, and costs a COPY nothing
    # measurable where a B-tree costs it half as much again.
    connection.execute(
        sql.SQL("create index {} on {} using brin (_load_id) with (pages_per_range = 32)").format(
            # As raw.summarize_new_records calls it.
            sql.Identifier(f"{table.name}__load_id_idx"),
            relation,
        )
    )
    for role, rights in RIGHTS.items():
        connection.execute(sql.SQL("grant {} on {} to {}").format(rights, relation, sql.Identifier(role)))


def _add_columns(connection: Connection, table: Table, present: dict[tuple[str, str], str]) -> None:
    """Add what a table lacks in one go, in the order of the contract; a column added by hand will do if it is text."""
    missing = [name for name in table.column_names if (table.name, name) not in present]
    if missing:
        additions = [sql.SQL("add column {} text").format(sql.Identifier(name)) for name in missing]
        connection.execute(
            sql.SQL("alter table {} {}").format(sql.Identifier("raw", table.name), sql.SQL(", ").join(additions))
        )
    for name in table.column_names:
        if (kind := present.get((table.name, name), "text")) != "text":
            raise ContractError(
                f"{CONTRACT.name} declares column {name} of table {table.name}, but raw.{table.name}.{name} is {kind}, "
                "not text: rename or drop that by hand first"
            )


def _comment(connection: Connection, table: Table) -> None:
    """Write the comments that differ: each takes a lock for which a vacuum of the table gives up."""
    present: dict[str | None, str | None] = dict(
        connection.execute(
            """
            select attname, col_description(attrelid, attnum)
            from pg_attribute
            where attrelid = to_regclass(%(name)s) and attnum > 0 and not attisdropped
            union all
            select null, obj_description(to_regclass(%(name)s), 'pg_class')
            """,
            {"name": f"raw.{table.name}"},
        ).fetchall()
    )
    relation = sql.Identifier("raw", table.name)
    for column, comment in _comments(table):
        if (present.get(column) or "") != comment:
            thing = sql.SQL("column {}.{}").format(relation, sql.Identifier(column)) if column else relation
            kind = sql.SQL("" if column else "table ")
            connection.execute(sql.SQL("comment on {}{} is {}").format(kind, thing, sql.Literal(comment)))


def _comments(table: Table) -> Iterator[tuple[str | None, str]]:
    """Yield the comment of a table, under None, and those of its columns."""
    yield None, f"Records as they were delivered, as text: {table.description}"
    yield from LOAD_COLUMNS.items()
    yield from ((column.name, column.description) for column in table.columns)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
