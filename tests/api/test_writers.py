"""Many write at once, some of them twice, while objects are loaded: every record that was accepted is in raw once."""

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx

from tests.api.conftest import KEY, build_marts, serving, settings_for
from tests.api.test_employees import hire
from tests.conftest import Database

WRITERS = 8
BATCHES = 12
OBJECT = """
with load as (
    insert into raw.loads (table_name, source, bucket, key, version, status, records, loaded, rejected, completed_at)
    values ('hired_employees', 'object', 'landing', 'hired_employees.csv', %(version)s, 'complete', 500, 500, 0, now())
    returning load_id
),
chunk as (
    insert into raw.load_chunks (load_id, chunk, first_record, records, rejected, byte_from, byte_to)
    select load_id, 0, 1, 500, 0, 0, 0 from load
)
insert into raw.hired_employees
select load_id, n, n::text, 'of an object', '2021-01-01', '1', '1' from load, generate_series(1, 500) as n
"""
BUILD = """
begin;
truncate marts.hires_by_quarter;
insert into marts.hires_by_quarter select 2021, 1, 'd', 1, 'j', count(*), 0, 0, 0 from raw.hired_employees;
insert into marts.publications values ('hires_by_quarter', 1, now())
on conflict (mart) do update set version = publications.version + 1, published_at = now();
select pg_notify('marts_changed', 'hires_by_quarter');
commit
"""


def write(client: httpx.Client, writer: int) -> dict[int, list[int]]:
    """Send batches, some of them again, as clients do that have heard nothing; return the ids of each load."""
    chance = random.Random(writer)  # noqa: S311
    accepted = {}
    for number in range(BATCHES):
        first = 1_000_000 * writer + 1000 * number
        ids = list(range(first + 1, first + 1 + chance.randint(1, 200)))
        headers = {"X-API-Key": KEY, "Idempotency-Key": f"{writer}-{number}"}
        for _ in range(chance.choice([1, 1, 2, 3])):
            answer = client.post("/employees", json=[hire(id=id_) for id_ in ids], headers=headers)
            assert answer.status_code == 201, answer.text
            accepted[answer.json()["load_id"]] = ids
    assert len(accepted) == BATCHES
    return accepted


def test_every_accepted_record_is_in_raw_once(database: Database) -> None:
    build_marts(database)
    done = threading.Event()

    def load_and_rebuild() -> int:
        with database.connect() as connection:
            for version in itertools.count(1):
                connection.execute(OBJECT, {"version": str(version)})
                connection.execute(BUILD)
                if done.is_set():
                    return version
        raise AssertionError

    with ExitStack() as stack, ThreadPoolExecutor(WRITERS + 1) as threads:
        clients = [stack.enter_context(serving(settings_for(database, api_pool_size=4))) for _ in range(2)]
        builder = threads.submit(load_and_rebuild)
        try:
            answers = list(threads.map(write, itertools.cycle(clients), range(1, WRITERS + 1)))
        finally:
            done.set()
        objects = builder.result()

    accepted = {load_id: ids for answer in answers for load_id, ids in answer.items()}
    in_raw = database.rows(
        "select _load_id, array_agg(id::integer order by _record) from raw.hired_employees "
        "inner join raw.loads on load_id = _load_id where source = 'api' group by _load_id"
    )
    assert dict(in_raw) == accepted
    assert len(accepted) == WRITERS * BATCHES
    assert database.rows("select count(*), max(completion) from raw.loads") == [
        (len(accepted) + objects, len(accepted) + objects)
    ]
