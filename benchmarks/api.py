"""Figures of the API: reads compared with a constant, an ORM and plain SQL, and batches compared with an insert."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count, islice
from statistics import median
from typing import NamedTuple, TypeVar

import psycopg

from api.metrics.hires_by_quarter import HIRES_BY_QUARTER
from benchmarks.api_and_constant import CONSTANT
from benchmarks.builds import DEPARTMENTS, JOBS, filled, first_build
from benchmarks.children import requests_a_second
from benchmarks.driver import Connection, encoded
from benchmarks.figures import Figure
from benchmarks.http_servers import API_KEY, running_api, running_api_and_constant, running_orm_api
from benchmarks.load import empty_tables, ratio
from benchmarks.servers import Servers

T = TypeVar("T")

METRIC = "/metrics/hires-by-quarter"
# Per round of a throughput measurement.
SECONDS = 2
# Per round of a latency measurement.
PAGES = 100
BATCHES = 20
RECORDS_PER_BATCH = 1000
FILL_PLAIN = (
    "insert into plain.departments select id::integer, department from raw.departments",
    "insert into plain.jobs select id::integer, job from raw.jobs",
    """
    insert into plain.hired_employees
    select id::integer, name, datetime::timestamptz at time zone 'UTC', department_id::integer, job_id::integer
    from raw.hired_employees
    """,
    "vacuum analyze plain.departments, plain.jobs, plain.hired_employees",
)
INSERT = """
insert into raw.hired_employees (_load_id, _record, id, name, datetime, department_id, job_id)
select %s, record, id, name, datetime, department_id, job_id
from
    unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) with ordinality
    as hire (id, name, datetime, department_id, job_id, record)
"""


class Hire(NamedTuple):
    """A hire in a client's request."""

    id: int
    name: str
    datetime: str
    department_id: int
    job_id: int


def read_vs_constant(servers: Servers, records: int) -> float:
    """Return the ratio of the throughput of a cached metric to that of a route that returns the same bytes."""
    with _built(servers, records):
        with running_api(servers) as port:
            content = _body(port)
        with running_api_and_constant(servers, content) as port:
            return ratio(
                lambda: requests_a_second(servers, port, METRIC, len(content), SECONDS),
                lambda: requests_a_second(servers, port, CONSTANT, len(content), SECONDS),
            )


def read_vs_orm(servers: Servers, records: int) -> float:
    """Return the ratio of the throughput of a cached metric to that of computing it with an ORM."""
    servers.execute("create schema plain")
    with _built(servers, records), running_api(servers) as port, running_orm_api(servers) as orm_port:
        servers.execute(*FILL_PLAIN)
        content, computed = _body(port), _body(orm_port)
        assert json.loads(computed) == json.loads(content)["items"]
        value = ratio(
            lambda: requests_a_second(servers, port, METRIC, len(content), SECONDS),
            lambda: requests_a_second(servers, orm_port, METRIC, len(computed), SECONDS),
        )
    servers.execute("drop schema plain cascade")
    return value


def cold_vs_psql(servers: Servers, records: int) -> float:
    """Return the ratio of the latency of uncached pages to that of their SQL statement."""
    with (
        _built(servers, records),
        running_api(servers) as port,
        closing(Connection(port)) as http,
        psycopg.connect(servers.conninfo("hiring_api"), autocommit=True) as sql,
    ):

        def select(offset: int) -> None:
            parameters = HIRES_BY_QUARTER.parameters.model_validate({"offset": offset})
            sql.execute(HIRES_BY_QUARTER.json_query, parameters.model_dump()).fetchall()

        # All pages are different, and there are enough full ones for all rounds.
        requested, selected = count(), count()
        return ratio(
            lambda: _latency(
                http.ask, (encoded("GET", f"{METRIC}?offset={offset}") for offset in islice(requested, PAGES))
            ),
            lambda: _latency(select, islice(selected, PAGES)),
        )


def batch_vs_insert(servers: Servers, _records: int) -> float:
    """Return the ratio of the latency of a batch to that of one insert of its rows, both committed."""
    empty_tables(servers)
    with (
        running_api(servers) as port,
        closing(Connection(port)) as http,
        psycopg.connect(servers.conninfo("hiring_loader"), autocommit=True) as sql,
    ):
        posted, inserted = _batches(), _batches()
        return ratio(
            lambda: _latency(lambda request: http.ask(request, b"201"), map(_post, islice(posted, BATCHES))),
            lambda: _latency(lambda rows: sql.execute(INSERT, rows), map(_columns, islice(inserted, BATCHES))),
        )


FIGURES = (
    Figure(
        "api_read_vs_constant",
        read_vs_constant,
        "requests/s of a cached metric / of a route of the same app that returns its bytes",
        bar=">= 0.75",
    ),
    Figure(
        "api_read_vs_orm",
        read_vs_orm,
        "requests/s of a cached metric / of computing it with FastAPI and SQLAlchemy, 100,000 hires",
        bar=">= 20",
    ),
    Figure(
        "api_cold_vs_psql",
        cold_vs_psql,
        "latency of a page that is not cached / of its statement by psycopg",
        bar="<= 2",
    ),
    Figure(
        "api_batch_vs_insert",
        batch_vs_insert,
        "latency of POST /employees with 1,000 hires / of one insert of their rows by psycopg",
        bar="<= 3",
    ),
)


@contextmanager
def _built(servers: Servers, records: int) -> Iterator[None]:
    """Build the marts from a tenth of the hires: these have all departments and jobs, so more would add no rows."""
    with filled(servers, records // 10):
        first_build(servers)
        yield


def _body(port: int) -> bytes:
    """Return the body of the metric's response."""
    with closing(Connection(port)) as http:
        return http.ask(encoded("GET", METRIC))


def _latency(work: Callable[[T], object], inputs: Iterable[T]) -> float:
    """Return the median of the seconds that some work takes for each input."""
    durations = []
    # A list, so that creating the inputs is not measured.
    for item in list(inputs):
        started = time.perf_counter()
        work(item)
        durations.append(time.perf_counter() - started)
    return median(durations)


def _batches() -> Iterator[list[Hire]]:
    """Yield batches of hires, all of which are different."""
    for first in count(1, RECORDS_PER_BATCH):
        yield [
            Hire(hire, f"Given{hire} Family", "2021-07-27T16:02:08Z", 1 + hire % DEPARTMENTS, 1 + hire % JOBS)
            for hire in range(first, first + RECORDS_PER_BATCH)
        ]


def _post(batch: Sequence[Hire]) -> bytes:
    """Return the request that sends a batch."""
    headers = {"X-API-Key": API_KEY, "Content-Type": "application/json"}
    return encoded("POST", "/employees", headers, json.dumps([hire._asdict() for hire in batch]).encode())


def _columns(batch: Sequence[Hire]) -> list[object]:
    """Return the parameters of the insert: a load id, and the fields as text by column."""
    return [0, *([str(field) for field in column] for column in zip(*batch, strict=True))]
