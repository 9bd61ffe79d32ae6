"""A restore: what an export holds of each load is put back, in one transaction; later loads stay as they are."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg import sql

from contracts import TABLES, Table
from orchestration.archive.exporting import Figures
from orchestration.archive.manifest import LEDGER, LOAD_COLUMNS, LOADS, SINCE, File, Manifest, load_of_row
from orchestration.archive.rows import schema_of, write
from orchestration.archive.store import ArchiveRefused, Store
from orchestration.database import LOCK_WAIT_SECONDS, Connection
from orchestration.ingest.session import acquire_table_lock
from orchestration.warehouse.build_lock import acquire_build_lock

# The export's loads of the tables that are restored, in a temporary table of the session.
ARCHIVED = sql.Identifier("archived")
IDENTITY = ("table_name", "source", "bucket", "key", "version", "reload", "started_at")


@dataclass(frozen=True)
class Restored:
    """What a restore put back.

    Attributes:
        manifest: of the export.
        loads: how many loads.
        gone_on: loads that had failed when the export was made and have been tried again since: they stay as they are.
        tables: what each table got.
    """

    manifest: Manifest
    loads: int
    gone_on: list[int]
    tables: list[Figures]


def restore_raw(
    connection: Connection,
    store: Store,
    export: str = "latest",
    tables: Sequence[Table] = TABLES,
    tell: Callable[[str], None] = lambda _: None,
    lock_wait_seconds: float = LOCK_WAIT_SECONDS,
) -> Restored:
    """Put tables back as an export holds them: their records, and of the ledger what belongs to these.

    Every file is looked at before anything is written, and all of it is written in one transaction: who breaks it off
    leaves everything as it was. Loaders of these tables and builds of the models wait for it, readers do not. From
    then on the marts count as not built: the next build is a full one.

    Args:
        connection: as hiring_restorer; to be closed afterwards.
        store: where exports are.
        export: its id, or "latest".
        tables: which.
        tell: is told how far it is, and whom it waits for.
        lock_wait_seconds: how long to wait for each load that is under way.

    Raises:
        ArchiveRefused: the export is not there, is damaged, or does not fit the database; nothing was changed.
        BucketUnavailable: the bucket refuses, or its server stayed away.
        LockTimeout: a load keeps one of the tables; nothing was changed.
        psycopg.OperationalError: the database went away.
    """
    manifest = store.manifest(export)
    _refuse_newer_schema(connection, manifest)
    names = _held(manifest, [table.name for table in TABLES if table in tables])
    parts = [*names, *LEDGER]
    tell(f"Looking at the files of {store.address(manifest.export)}")
    for name in (LOADS, *parts):
        _look_at(connection, store, manifest, name)
    acquire_build_lock(connection, tell)
    for table in TABLES:
        if table in tables:
            acquire_table_lock(connection, table, lock_wait_seconds)
    gone_on = _take_in_loads(connection, store, manifest, names)
    loads = [load_id for (load_id,) in connection.execute("select load_id from archived").fetchall()]
    with connection.transaction():
        connection.execute("set local synchronous_commit = on")
        began = time.monotonic()
        _put_loads_back(connection)
        done = [Figures(LOADS, len(loads), _size(manifest, LOADS), time.monotonic() - began)]
        for name in parts:
            tell(f"Putting raw.{name} back")
            done.append(_put_back(connection, store, manifest, name, loads))
        connection.execute("delete from staging.watermarks where input = 'loads' or model = 'project'")
    return Restored(manifest, len(loads), gone_on, done)


def _refuse_newer_schema(connection: Connection, manifest: Manifest) -> None:
    ((revision,),) = connection.execute("select version_num from public.alembic_version").fetchall()
    if manifest.revision > revision:
        raise ArchiveRefused(
            f"export {manifest.export} is of schema {manifest.revision}, the database of {revision}: run "
            "python -m orchestration.migrations, then restore"
        )


def _held(manifest: Manifest, names: Sequence[str]) -> list[str]:
    """Return the tables that an export holds, of those that are wanted: the contract may have got others since.

    Raises:
        ArchiveRefused: it holds none of them, or lacks a part of the ledger.
    """
    held = [name for name in names if name in manifest.tables]
    due = [name for name in (LOADS, *LEDGER) if manifest.revision >= SINCE.get(name, "")]
    missing = [name for name in due if name not in manifest.tables]
    if missing or not held:
        raise ArchiveRefused(
            f"export {manifest.export} does not hold {', '.join(missing or names)}: take another export"
        )
    return held


def _look_at(connection: Connection, store: Store, manifest: Manifest, name: str) -> None:
    """See that the files of a table are whole and have its columns.

    Raises:
        ArchiveRefused: they are not, or have not.
    """
    columns = set(schema_of(connection, name).names)
    for file in manifest.files(name):
        with store.checked(manifest.export, file) as content:
            found = pq.read_metadata(content)
            address = store.address(manifest.export, file.name)
            if found.num_rows != file.rows:
                raise ArchiveRefused(f"{address} has {found.num_rows:,} rows, the manifest says {file.rows:,}")
            unknown = [column for column in found.schema.to_arrow_schema().names if column not in columns]
            if unknown:
                raise ArchiveRefused(
                    f"{address} has {', '.join(unknown)}, which raw.{name} has not: run the migrations of the version "
                    "of this project that made the export, then restore"
                )


def _take_in_loads(connection: Connection, store: Store, manifest: Manifest, names: Sequence[str]) -> list[int]:
    """Fill the session's table with the loads that are to be put back; return those that have gone on since.

    Raises:
        ArchiveRefused: the database has other loads under their numbers, or the same objects under others.
    """
    connection.execute("create temporary table archived (like raw.loads including defaults)")
    for file in manifest.tables[LOADS]:
        _copy(connection, store, manifest, file, ARCHIVED)
    _refuse_loads_without_records(connection, manifest)
    connection.execute("delete from archived where table_name <> all(%s)", [list(names)])
    # In an emptier database than the export's: whoever loads meanwhile takes none of its numbers.
    connection.execute("""
        select raw.continue_numbers_after(coalesce(max(load_id), 0), coalesce(max(completion), 0)) from archived
    """)
    _refuse_other_loads(connection)
    gone_on = connection.execute("""
        delete from archived
        using raw.loads
        where
            archived.load_id = loads.load_id
            and archived.status <> 'complete'
            and (loads.status <> archived.status or loads.records > archived.records)
        returning archived.load_id
    """).fetchall()
    _refuse_loads_of_the_same(connection)
    return sorted(load_id for (load_id,) in gone_on)


def _refuse_loads_without_records(connection: Connection, manifest: Manifest) -> None:
    missing = connection.execute(
        "select distinct table_name from archived where table_name <> all(%s) order by 1", [list(manifest.tables)]
    ).fetchall()
    if missing:
        raise ArchiveRefused(
            f"export {manifest.export} has loads of {', '.join(name for (name,) in missing)} and does not hold their "
            "records: take another export"
        )


def _refuse_other_loads(connection: Connection) -> None:
    other = connection.execute(
        sql.SQL("""
            select load_id, archived.table_name, archived.key, loads.table_name, loads.key
            from archived
            inner join raw.loads using (load_id)
            where ({}) is distinct from ({})
            order by load_id
            limit 1
        """).format(
            *(sql.SQL(", ").join(sql.Identifier(of, each) for each in IDENTITY) for of in ("archived", "loads"))
        )
    ).fetchone()
    if other:
        load_id, *named = other
        raise ArchiveRefused(
            f"load {load_id} of the export ({_named(*named[:2])}) is another one than load {load_id} of the database "
            f"({_named(*named[2:])}): nothing was changed; restore into the database that was exported, or into an "
            "empty one before anything is loaded"
        )


def _refuse_loads_of_the_same(connection: Connection) -> None:
    same = connection.execute("""
        select archived.load_id, loads.load_id, loads.table_name, loads.key
        from archived
        inner join raw.loads
            on archived.load_id <> loads.load_id
            and (archived.bucket, archived.key, archived.version, archived.reload)
                = (loads.bucket, loads.key, loads.version, loads.reload)
        where archived.status <> 'abandoned' and loads.status <> 'abandoned'
        order by archived.load_id
        limit 1
    """).fetchone()
    if same:
        archived, present, *named = same
        raise ArchiveRefused(
            f"load {archived} of the export was taken out, and its object has been loaded since as load {present} "
            f"({_named(*named)}): nothing was changed; take load {present} out, or leave its table out of the restore"
        )


def _named(table: str, key: str | None) -> str:
    return f"{table}, {key or 'a batch over HTTP'}"


def _put_loads_back(connection: Connection) -> None:
    columns = [
        name
        for (name,) in connection.execute("""
            select attname from pg_attribute
            where attrelid = 'archived'::regclass and attnum > 0 and not attisdropped
        """)
    ]
    connection.execute(
        sql.SQL("""
            insert into raw.loads ({columns}) overriding system value
            select {columns} from archived
            on conflict (load_id) do update set {values}
        """).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            values=sql.SQL(", ").join(
                sql.SQL("{} = excluded.{}").format(sql.Identifier(name), sql.Identifier(name))
                for name in columns
                if name != "load_id"
            ),
        )
    )


def _put_back(connection: Connection, store: Store, manifest: Manifest, name: str, loads: Sequence[int]) -> Figures:
    """Put the rows of some loads in the place of those that a table has."""
    began = time.monotonic()
    relation = sql.Identifier("raw", name)
    connection.execute(sql.SQL("delete from {} where {} = any(%s)").format(relation, load_of_row(name)), [loads])
    wanted = (LOAD_COLUMNS[name], pa.array(loads, pa.int64()))
    rows = sum(_copy(connection, store, manifest, file, relation, wanted) for file in manifest.files(name))
    return Figures(name, rows, _size(manifest, name), time.monotonic() - began)


def _copy(
    connection: Connection,
    store: Store,
    manifest: Manifest,
    file: File,
    relation: sql.Identifier,
    wanted: tuple[Sequence[str], pa.Array] | None = None,
) -> int:
    """Copy a file into a table, of `wanted` the columns of a load and which it may be; return how many rows."""
    copied = 0

    def rows(parquet: pq.ParquetFile) -> Iterator[pa.Table]:
        nonlocal copied
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group)
            if wanted:
                columns, loads = wanted
                load = pc.coalesce(*(table.column(name) for name in columns))
                table = table.filter(pc.is_in(load, value_set=loads))
            copied += table.num_rows
            yield table

    with store.checked(manifest.export, file) as content:
        parquet = pq.ParquetFile(content)
        try:
            write(connection, relation, parquet.schema_arrow, rows(parquet))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise ArchiveRefused(
                f"{store.address(manifest.export, file.name)} is not taken by the database, nothing "
                f"was changed: {error}"
            ) from None
    return copied


def _size(manifest: Manifest, name: str) -> int:
    return sum(file.bytes for file in manifest.files(name))
