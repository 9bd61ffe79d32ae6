"""A metric as a CSV file: copied out of Postgres as fast as it gives, then sent as slowly as the client takes.

Sent while it is copied, it would hold up the next build, and everybody who reads after that, for as long as a client
likes. Copied first, an error of the database is an error, and not the end of a file that looks whole.
"""

import codecs
import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from api.caching.mart_versions import MartVersion
from api.caching.response_cache import CACHE_HEADERS
from api.database import Connection, Database
from api.metrics.hints import headers_for, hints_for
from api.metrics.metric import Metric
from api.metrics.schemas import ALL_YEARS

# A file up to this size stays in memory; a larger one is on the disk until it is sent.
MEMORY_BYTES = 1024 * 1024
PART_BYTES = 64 * 1024


async def export(request: Request, database: Database, metric: Metric, asked: BaseModel) -> Response:
    """Return all rows that a request selects as a CSV file, or 304 if the client has it.

    Args:
        request: with the validators of what the client has.
        database: a connection pool.
        metric: the metric whose mart is read.
        asked: the validated query parameters.

    Raises:
        psycopg.OperationalError: Postgres is away or takes too long.
    """
    chosen = asked.model_dump(include={"bom", *metric.query.model_fields})
    if metric.is_yearly:
        chosen["year"] = sorted({*chosen["year"]})
    with ExitStack() as to_close:
        said = headers_for(await hints_for(database, chosen))
        file = to_close.enter_context(tempfile.SpooledTemporaryFile(MEMORY_BYTES))
        work = _copy(request, database, metric, chosen, file)
        headers, is_known = await database.in_time(work, progress=file.tell)
        headers |= said
        if is_known:
            return Response(status_code=304, headers=headers)
        to_close.pop_all()
        return Download(file, f"{metric.slug}{_period(chosen.get('year'))}.csv", headers)


def example(metric: Metric) -> str:
    """Return the first row of a metric's example as CSV."""
    text = io.StringIO()
    first = {"year": metric.example.get("year"), **metric.example["items"][0]}
    csv.writer(text).writerows([metric.csv_columns, [first[name] for name in metric.csv_columns]])
    return text.getvalue()


def _period(years: Sequence[int] | None) -> str:
    """Return how a file's name ends: with its year, or with the first and the last one."""
    if years is None:
        return ""
    return f"-{'-to-'.join(map(str, sorted({years[0], years[-1]})))}" if years else f"-{ALL_YEARS}"


async def _copy(
    request: Request, database: Database, metric: Metric, parameters: dict[str, Any], file: IO[bytes]
) -> tuple[dict[str, str], bool]:
    """Copy the rows into a file, and return the headers for it; copy nothing when the client has them."""
    async with database.connection() as connection, connection.transaction():
        await connection.execute(metric.hold_query)
        version = MartVersion.of(await (await connection.execute(metric.version_query)).fetchone())
        validators = version.validators("csv", *metric.csv_columns, repr(parameters)) if version else None
        headers = CACHE_HEADERS | (validators.headers if validators else {})
        if validators and validators.are_current(request.scope["headers"]):
            return headers, True
        if parameters["bom"]:
            file.write(codecs.BOM_UTF8)
        file.write(",".join(metric.csv_columns).encode() + b"\r\n")
        years = parameters.get("year", [None])
        if not years:
            years = [year for (year,) in await (await connection.execute(metric.years_query)).fetchall()]
        # One after the other: each is looked up in the mart as it is for JSON.
        for year in years:
            await _copy_rows(connection, metric, parameters | {"year": year}, file)
        return headers, False


async def _copy_rows(connection: Connection, metric: Metric, parameters: dict[str, Any], file: IO[bytes]) -> None:
    async with connection.cursor() as cursor, cursor.copy(metric.csv_query, parameters) as rows:
        # Postgres gives a row at a time, and ends it as Unix does.
        async for row in rows:
            file.write(bytes(row[:-1]) + b"\r\n")


class Download(Response):
    """A file to be saved, whose length is known, so that a client notices when its end is missing."""

    def __init__(self, file: IO[bytes], name: str, headers: Mapping[str, str]) -> None:
        super().__init__(
            headers={
                **headers,
                "Content-Length": str(file.tell()),
                "Content-Disposition": f'attachment; filename="{name}"',
                "Content-Type": "text/csv; charset=utf-8; header=present",
            }
        )
        self._file = file

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the file, and close it."""
        with self._file as file:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            file.seek(0)
            while part := file.read(PART_BYTES):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
