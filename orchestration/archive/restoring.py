"""Restores: each load of an export is restored, in one transaction; later loads stay as they are."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg import sql

from contracts import TABLES, Table
from orchestration.archive.exporting import TableStatistics
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
    """The result of a restore.

    Attributes:
        manifest: of the export.
        loads: number of restored loads.
        retried: loads that had failed before the export and were retried since: they stay as they are.
        tables: statistics of each table.
    """

    manifest: Manifest
    loads: int
    retried: list[int]
    tables: list[TableStatistics]


def restore_raw(
    connection: Connection,
    store: Store,
    export: str = "latest",
    tables: Sequence[Table] = TABLES,
    on_progress: Callable[[str], None] = lambda _: None,
    lock_wait_seconds: float = LOCK_WAIT_SECONDS,
) -> Restored:
    """Restore tables from an export: their records, and their part of the ledger.

    All files are verified before anything is written, and everything is written in one transaction: an interrupted
    restore changes nothing. Loads of these tables and builds wait for it, readers do not. Afterwards the marts count as
    not built, so the next build is a full one.

    Args:
        connection: as hiring_restorer; to be closed afterwards.
        store: the bucket of exports.
        export: its id, or "latest".
        tables: the tables to restore.
        on_progress: called with messages about the progress, and about sessions that it waits for.
        lock_wait_seconds: how long to wait for each load in progress.

    Raises:
        ArchiveRefused: the export does not exist, is damaged, or does not fit the database; nothing was changed.
        BucketUnavailable: the bucket refuses access, or its server stayed down.
        LockTimeout: a load keeps one of the tables locked; nothing was changed.
        psycopg.OperationalError: the connection to the database was lost.
    """
    manifest = store.manifest(export)
    _refuse_newer_schema(connection, manifest)
    names = _contained(manifest, [table.name for table in TABLES if table in tables])
    parts = [*names, *LEDGER]
    on_progress(f"Verifying the files of {store.address(manifest.export)}")
    for name in (LOADS, *parts):
        _verify_files(connection, store, manifest, name)
    acquire_build_lock(connection, on_progress)
    for table in TABLES:
        if table in tables:
            acquire_table_lock(connection, table, lock_wait_seconds)
    retried = _read_loads(connection, store, manifest, names)
    loads = [load_id for (load_id,) in connection.execute("select load_id from archived").fetchall()]
    with connection.transaction():
        connection.execute("set local synchronous_commit = on")
        began = time.monotonic()
        _restore_loads(connection)
        restored = [TableStatistics(LOADS, len(loads), _size(manifest, LOADS), time.monotonic() - began)]
        for name in parts:
            on_progress(f"Restoring raw.{name}")
            restored.append(_restore_rows(connection, store, manifest, name, loads))
        connection.execute("delete from staging.watermarks where input = 'loads' or model = 'project'")
    return Restored(manifest, len(loads), retried, restored)


def _refuse_newer_schema(connection: Connection, manifest: Manifest) -> None:
    ((revision,),) = connection.execute("select version_num from public.alembic_version").fetchall()
    if manifest.revision > revision:
        raise ArchiveRefused(
            f"export {manifest.export} has schema {manifest.revision}, the database {revision}: run "
            "python -m orchestration.migrations, then restore"
        )


def _contained(manifest: Manifest, names: Sequence[str]) -> list[str]:
    """Return which of some tables an export contains: the contract may have more by now.

    Raises:
        ArchiveRefused: it contains none of them, or lacks a part of the ledger.
    """
    contained = [name for name in names if name in manifest.tables]
    required = [name for name in (LOADS, *LEDGER) if manifest.revision >= SINCE.get(name, "")]
    missing = [name for name in required if name not in manifest.tables]
    if missing or not contained:
        raise ArchiveRefused(
            f"export {manifest.export} does not contain {', '.join(missing or names)}: use another export"
        )
    return contained


def _verify_files(connection: Connection, store: Store, manifest: Manifest, name: str) -> None:
    """Check that the files of a table are complete and have its columns.

    Raises:
        ArchiveRefused: they are not, or have not.
    """
    columns = set(schema_of(connection, name).names)
    for file in manifest.files(name):
        with store.verified(manifest.export, file) as content:
            metadata = pq.read_metadata(content)
            address = store.address(manifest.export, file.name)
            if metadata.num_rows != file.rows:
                raise ArchiveRefused(f"{address} has {metadata.num_rows:,} rows, the manifest says {file.rows:,}")
            unknown = [column for column in metadata.schema.to_arrow_schema().names if column not in columns]
            if unknown:
                raise ArchiveRefused(
                    f"{address} has {', '.join(unknown)}, which raw.{name} does not have: run the migrations of the "
                    "project's version that made the export, then restore"
                )


def _read_loads(connection: Connection, store: Store, manifest: Manifest, names: Sequence[str]) -> list[int]:
    """Fill the session's table with the loads to restore; return failed ones that were retried since.

    Raises:
        ArchiveRefused: the database has other loads under their numbers, or the same objects under others.
    """
    connection.execute("create temporary table archived (like raw.loads including defaults)")
    for file in manifest.tables[LOADS]:
        _copy(connection, store, manifest, file, ARCHIVED)
    _refuse_loads_without_records(connection, manifest)
    connection.execute("delete from archived where table_name <> all(%s)", [list(names)])
    # If the database has fewer loads than the export, concurrent loads must not use the export's numbers.
    connection.execute("""
        select raw.continue_numbers_after(coalesce(max(load_id), 0), coalesce(max(completion), 0)) from archived
    """)
    _refuse_other_loads(connection)
    retried = connection.execute("""
        delete from archived
        using raw.loads
        where
            archived.load_id = loads.load_id
            and archived.status <> 'complete'
            and (loads.status <> archived.status or loads.records > archived.records)
        returning archived.load_id
    """).fetchall()
    _refuse_loads_of_the_same(connection)
    return sorted(load_id for (load_id,) in retried)


def _refuse_loads_without_records(connection: Connection, manifest: Manifest) -> None:
    missing = connection.execute(
        "select distinct table_name from archived where table_name <> all(%s) order by 1", [list(manifest.tables)]
    ).fetchall()
    if missing:
        raise ArchiveRefused(
            f"export {manifest.export} has loads of {', '.join(name for (name,) in missing)} but not their records: "
            "use another export"
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
            *(sql.SQL(", ").join(sql.Identifier(table, name) for name in IDENTITY) for table in ("archived", "loads"))
        )
    ).fetchone()
    if other:
        load_id, *named = other
        raise ArchiveRefused(
            f"load {load_id} of the export ({_named(*named[:2])}) differs from load {load_id} of the database "
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
            f"load {archived} of the export was removed, and its object has been loaded since as load {present} "
            f"({_named(*named)}): nothing was changed; remove load {present}, or leave its table out of the restore"
        )


def _named(table: str, key: str | None) -> str:
    return f"{table}, {key or 'a batch over HTTP'}"


def _restore_loads(connection: Connection) -> None:
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


def _restore_rows(
    connection: Connection, store: Store, manifest: Manifest, name: str, loads: Sequence[int]
) -> TableStatistics:
    """Replace a table's rows of some loads by those of an export."""
    began = time.monotonic()
    relation = sql.Identifier("raw", name)
    connection.execute(sql.SQL("delete from {} where {} = any(%s)").format(relation, load_of_row(name)), [loads])
    wanted = (LOAD_COLUMNS[name], pa.array(loads, pa.int64()))
    rows = sum(_copy(connection, store, manifest, file, relation, wanted) for file in manifest.files(name))
    return TableStatistics(name, rows, _size(manifest, name), time.monotonic() - began)


def _copy(
    connection: Connection,
    store: Store,
    manifest: Manifest,
    file: File,
    relation: sql.Identifier,
    wanted: tuple[Sequence[str], pa.Array] | None = None,
) -> int:
    """Copy a file's rows into a table; return how many.

    Args:
        connection: as hiring_restorer.
        store: the bucket of exports.
        manifest: of the export.
        file: the file.
        relation: the table.
        wanted: the columns with a row's load, and the loads to copy; None copies all rows.

    Raises:
        ArchiveRefused: the database refuses a row.
    """
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

    with store.verified(manifest.export, file) as content:
        parquet = pq.ParquetFile(content)
        try:
            write(connection, relation, parquet.schema_arrow, rows(parquet))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise ArchiveRefused(
                f"the database refuses {store.address(manifest.export, file.name)}, nothing was changed: {error}"
            ) from None
    return copied


def _size(manifest: Manifest, name: str) -> int:
    return sum(file.bytes for file in manifest.files(name))
