"""Adds the contract's tables and columns to raw; nothing is ever dropped."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from contracts import TABLES, Table
from contracts.tables import CONTRACT, ContractError

# Privileges on a table of the contract. hiring_api has none: raw.store_batch inserts for it.
RIGHTS = {
    "hiring_loader": sql.SQL("select, insert"),
    "hiring_transformer": sql.SQL("select"),
    "hiring_restorer": sql.SQL("select, insert, delete"),
}
# Columns of every table, before the delivered ones.
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
    """Return whether the database has columns of a later version of the contract, as after a roll-back.

    Args:
        connection: of the role that owns schema raw.
        version: of this project's contract.
    """
    versions = connection.execute("select contract_version from raw.contract_columns").fetchall()
    return any(_order(other) > _order(version) for (other,) in versions)


def follow_contract(connection: Connection, tables: Sequence[Table], version: str) -> None:
    """Add the tables and columns that raw lacks, and set their comments to the contract's descriptions.

    Args:
        connection: in a transaction, of the role that owns schema raw.
        tables: of the contract.
        version: of the contract.

    Raises:
        ContractError: raw has tables or columns that the contract no longer declares, or foreign ones of these names.
    """
    present = {(table, column): kind for table, column, kind in connection.execute(PRESENT).fetchall()}
    recorded = connection.execute("select table_name, column_name from raw.contract_columns").fetchall()
    known = set(recorded) & present.keys()
    _refuse_lost(known, tables)
    for table, column in set(recorded) - known:
        # Dropped manually; what the contract still has is added again.
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
    """Return the columns of the contract that raw lacks, as raw.table.column.

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
                f"{CONTRACT.name} lacks table {table}, whose records are in raw.{table}: declare it again; to give up "
                f"its records for good, drop table raw.{table} cascade manually first"
            )
        if column not in declared[table]:
            raise ContractError(
                f"{CONTRACT.name} lacks column {column} of table {table}, whose values are in raw.{table}: declare it "
                "again, with synonyms for other names in headers; to give up its values for good, drop "
                f"raw.{table}.{column} manually first"
            )


def _create(connection: Connection, table: Table, present: dict[tuple[str, str], str]) -> None:
    if any(owner == table.name for owner, _ in present):
        raise ContractError(
            f"{CONTRACT.name} declares table {table.name}, but raw.{table.name} is another table: choose another name"
        )
    relation = sql.Identifier("raw", table.name)
    connection.execute(
        sql.SQL("create table {} (_load_id bigint not null, _record bigint not null, {})").format(
            relation, sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in table.column_names)
        )
    )
    # Records are stored in the order of their loads, so a BRIN index finds a load. Its effect on the time of a COPY
    # cannot be measured; a B-tree adds half of it.
    connection.execute(
        sql.SQL("create index {} on {} using brin (_load_id) with (pages_per_range = 32)").format(
            # The name that raw.summarize_new_records uses.
            sql.Identifier(f"{table.name}__load_id_idx"),
            relation,
        )
    )
    for role, rights in RIGHTS.items():
        connection.execute(sql.SQL("grant {} on {} to {}").format(rights, relation, sql.Identifier(role)))


def _add_columns(connection: Connection, table: Table, present: dict[tuple[str, str], str]) -> None:
    """Add a table's missing columns in one statement, in the contract's order; a manually added text column is fine."""
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
                "not text: rename or drop that manually first"
            )


def _comment(connection: Connection, table: Table) -> None:
    """Write only comments that differ: each takes a lock that makes a vacuum of the table give up."""
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
    yield None, f"Records as delivered, as text: {table.description}"
    yield from LOAD_COLUMNS.items()
    yield from ((column.name, column.description) for column in table.columns)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
