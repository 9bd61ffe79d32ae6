"""The latest arrivals: one row per load of an object, with its format, its counts and its status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from psycopg.rows import class_row

from contracts import TABLES
from orchestration.arrivals.partitions import landing_of
from orchestration.ingest.file_format import FileFormat

if TYPE_CHECKING:
    from orchestration.database import Connection

SHOWN = 100


@dataclass(frozen=True)
class Arrival:
    """A load of an object. Unknown values are None."""

    load_id: int
    key: str
    started_at: datetime
    table_name: str
    dialect: Mapping[str, Any] | None
    left_out: Sequence[str]
    records: int | None
    malformed: int | None
    invalid: int | None
    waiting: int
    seconds: float | None
    status: str

    def row(self, runs: Mapping[int, str], ui_url: str) -> dict[str, object]:
        """Return it as a row of a table.

        Args:
            runs: run ids by load id.
            ui_url: the URL of Dagster's UI.
        """
        run = runs.get(self.load_id)
        return {
            "object": self.key,
            "time": f"{self.started_at:%Y-%m-%d %H:%M:%S}",
            "status": self.status,
            "table": self.table_name,
            "written as": _written_as(self.dialect),
            "columns left out": ", ".join(self.left_out),
            "records": self.records,
            "malformed": self.malformed,
            "invalid": self.invalid,
            "waiting": self.waiting,
            "seconds": None if self.seconds is None else f"{self.seconds:.1f}",
            "load": self.load_id,
            "run": f"[{run[:8]}]({ui_url.rstrip('/')}/runs/{run})" if run else "by hand",
        }


def _written_as(dialect: Mapping[str, Any] | None) -> str:
    if dialect is None:
        return ""
    file_format = FileFormat.from_json(dict(dialect))
    return f"{file_format.encoding}, {file_format.dialect}"


def recent_arrivals(connection: "Connection") -> list[Arrival]:
    """Return the latest loads of objects, newest first.

    Args:
        connection: of a role that reads raw and staging. No record waits while the models have never been built.
    """
    are_built = connection.execute("select to_regclass('staging.checked_records')").fetchone() != (None,)
    waiting = WAITING if are_built else "select null::bigint as load_id, null::bigint as waiting where false"
    return (
        connection.cursor(row_factory=class_row(Arrival))
        .execute(
            f"""
            with recent as (
                select *
                from raw.loads
                where source = 'object'
                order by started_at desc, load_id desc
                limit {SHOWN}
            ),
            waiting as ({waiting})
            select
                load_id, key, started_at at time zone 'UTC' as started_at, table_name, dialect,
                coalesce(left_out_columns, '{{}}') as left_out, records, malformed, invalid,
                coalesce(waiting, 0) as waiting,
                extract(epoch from completed_at - started_at)::float as seconds, status
            from recent
            left join waiting using (load_id)
            order by started_at desc, load_id desc
            """  # noqa: S608 - constants
        )
        .fetchall()
    )


# The redundant condition is that of the partial index on these records.
WAITING = """
    select _load_id as load_id, count(*) as waiting
    from staging.checked_records
    where
        disposition in ('waiting', 'withdrawn') and disposition = 'waiting'
        and _load_id in (select load_id from recent)
    group by _load_id
"""


def runs_of_loads(instance: dg.DagsterInstance) -> dict[int, str]:
    """Return the run ids of the latest loads by load id, according to the events of their objects."""
    runs: dict[int, str] = {}
    for table in TABLES:
        for fetch in (instance.fetch_materializations, instance.fetch_observations):
            for record in fetch(landing_of(table.name), limit=SHOWN).records:
                event = record.asset_materialization or record.asset_observation
                load_id = event.metadata.get("load_id") if event else None
                if load_id is not None and record.run_id:
                    runs[int(str(load_id.value))] = record.run_id
    return runs
