"""Many clients write over HTTP during loads, builds and reads: nothing is lost, duplicated or half visible."""

import itertools
import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from contracts import TABLES, Table
from deploy.local.settings import Settings
from orchestration.ingest.loader import Loaded, load_pending
from tests import oracle
from tests.api.conftest import KEY, eventually
from tests.api.test_employees import hire
from tests.api.test_process import running
from tests.conftest import Bucket, Database, fresh_bucket
from tests.dbt_project.conftest import Dbt, running_dbt
from tests.dbt_project.test_increments import refresh

DEPARTMENTS, JOBS, HIRED_EMPLOYEES = TABLES
WRITERS = 8
# So many builds have to end while the others are at it.
BUILDS = 2
YEARS = (2021, 2022)
# Few enough that writers and objects deliver the same people all the time: of these the later load counts.
PEOPLE = 3000
# Ids of departments and jobs that hires name. Some of them come later than the first hires, some never.
NAMED = {DEPARTMENTS: range(1, 8), JOBS: range(1, 6)}
BAD_RECORDS = [hire(job_id=0), hire(name=" "), hire(datetime="soon"), {}, "no record"]


@dataclass(frozen=True)
class Content:
    """What a load has to have left in raw, by the number of the record: rows, and reasons and bytes of the rejected."""

    table: str
    rows: dict[int, tuple[str, ...]]
    rejected: dict[int, tuple[str, bytes]]


Loads = dict[int, Content]
Clients = Sequence[httpx.Client]


class Builds:
    """Counts completed builds, for threads that continue until there were enough, or wait for the next ones."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ended = 0.0

    def are_enough(self) -> bool:
        return self._ended >= BUILDS

    def add(self, number: float) -> None:
        with self._changed:
            self._ended += number
            self._changed.notify_all()

    def wait_for_more(self, number: int) -> None:
        with self._changed:
            enough = self._ended + number
            self._changed.wait_for(lambda: self._ended >= enough)


def hires(chance: random.Random, number: int) -> list[dict[str, Any]]:
    return [
        hire(
            id=chance.randint(1, PEOPLE),
            name=f"Ada {chance.random()}",
            datetime=f"{chance.choice(YEARS)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T23:59:59Z",
            department_id=chance.choice(NAMED[DEPARTMENTS]),
            job_id=chance.choice(NAMED[JOBS]),
        )
        for _ in range(number)
    ]


def as_row(record: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(record[column]) for column in HIRED_EMPLOYEES.column_names)


@dataclass(frozen=True)
class Batch:
    """A batch under a key of its own, and the numbers of its bad records, which its writer wants to be kept apart."""

    key: str
    records: list[Any]
    bad: set[int]

    @classmethod
    def made(cls, key: str, chance: random.Random) -> "Batch":
        records: list[Any] = hires(chance, chance.randint(1, 60))
        bad = set(chance.choices(range(1, len(records) + 1), k=3)) if chance.random() < 0.5 else set()
        for number in bad:
            records[number - 1] = chance.choice(BAD_RECORDS)
        return cls(key, records, bad)

    def content(self) -> Content:
        numbered = dict(enumerate(self.records, 1))
        return Content(
            HIRED_EMPLOYEES.name,
            {number: as_row(record) for number, record in numbered.items() if number not in self.bad},
            {number: ("invalid_fields", json.dumps(numbered[number]).encode()) for number in self.bad},
        )

    def post(self, client: httpx.Client, *, with_key: bool = True) -> httpx.Response:
        """Send it again while the response says that it is in progress."""
        headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
        if with_key:
            headers["Idempotency-Key"] = self.key
        query = {"on_error": "continue"} if self.bad else {}
        while True:
            answer = client.post("/employees", params=query, content=json.dumps(self.records), headers=headers)
            if answer.status_code != 409:
                return answer
            time.sleep(0.01)


def send_without_a_key(batch: Batch, clients: Clients) -> httpx.Response:
    return batch.post(clients[0], with_key=False)


def send_again(batch: Batch, clients: Clients) -> httpx.Response:
    first, again = (batch.post(client) for client in clients)
    assert again.content == first.content
    assert ["idempotency-replayed" in answer.headers for answer in (first, again)] == [False, True]
    return first


def send_twice_at_once(batch: Batch, clients: Clients) -> httpx.Response:
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(batch.post, clients)
    assert one.content == other.content
    assert {"idempotency-replayed" in answer.headers for answer in (one, other)} == {False, True}
    return one


def send_after_a_refusal(batch: Batch, clients: Clients) -> httpx.Response:
    spoilt = Batch(batch.key, [*batch.records, BAD_RECORDS[0]], set())
    assert spoilt.post(clients[1]).status_code == 422
    return batch.post(clients[0])


WAYS = (send_without_a_key, send_again, send_twice_at_once, send_after_a_refusal)


def write(clients: Clients, writer: int, builds: Builds) -> Loads:
    """Send batches, each in another way, until there were enough builds; return what has been accepted."""
    chance = random.Random(writer)  # noqa: S311
    accepted: Loads = {}
    for number in itertools.count(writer):
        if builds.are_enough():
            break
        batch = Batch.made(f"{writer}-{number}", chance)
        answer = WAYS[number % len(WAYS)](batch, clients)
        assert answer.status_code == 201, answer.text
        told, content = answer.json(), batch.content()
        assert told["accepted"] == len(content.rows)
        assert {each["record"] for each in told["rejected"]} == batch.bad
        assert told["load_id"] not in accepted
        accepted[told["load_id"]] = content
        time.sleep(chance.random() / 4)
    return accepted


@dataclass(frozen=True)
class Landing:
    """A bucket whose objects are loaded into a database, as one table's."""

    database: Database
    bucket: Bucket
    table: Table

    def load(self, number: int, rows: Sequence[tuple[str, ...]], builds: Builds | None = None) -> Loads:
        """Load an object of some rows and a line that is none; where there are builds, end only after two of them.

        The first of these may have begun before; the second shows what was complete before this, which began earlier.
        """

        def be_overtaken(_progress: object) -> None:
            if builds:
                builds.wait_for_more(2)

        lines = [",".join(row).encode() for row in rows] + [b"odd"]
        self.bucket.put(f"{self.table.name}/{number}.csv", b"\n".join(lines) + b"\n")
        conninfo = self.database.conninfo("hiring_loader")
        (outcome,) = load_pending(conninfo, self.bucket.client, self.bucket.name, self.table, on_progress=be_overtaken)
        assert isinstance(outcome, Loaded), outcome
        odd = {len(lines): ("too_few_fields", b"odd")}
        return {outcome.load_id: Content(self.table.name, dict(enumerate(rows, 1)), odd)}

    def load_on(self, builds: Builds) -> Loads:
        """Load objects until there were enough builds, every other one so slowly that later loads overtake it.

        At least one of each kind, however fast the builds are.
        """
        chance = random.Random(self.table.name)  # noqa: S311
        loaded: Loads = {}
        for number in itertools.count(1):
            if number > 2 and builds.are_enough():
                break
            loaded |= self.load(number, self._rows(chance, number), None if number % 2 else builds)
        return loaded

    def _rows(self, chance: random.Random, number: int) -> list[tuple[str, ...]]:
        if self.table in NAMED:
            return [(str(n), f"{self.table.name} {n} of {number}") for n in chance.sample(NAMED[self.table], 3)]
        records = [*hires(chance, 500), hire(id="x"), hire(datetime="soon")]
        chance.shuffle(records)
        return [as_row(record) for record in records]


def ask(client: httpx.Client, metric: str, year: int) -> Any:
    answer = client.get(f"/metrics/{metric}", params={"year": year})
    assert answer.status_code == 200, answer.text
    return answer.json()


def read(client: httpx.Client, year: int, over: threading.Event) -> list[Any]:
    """Request metric 1 continuously; return its distinct states in order."""
    seen: list[Any] = []
    while not over.is_set():
        items = ask(client, "hires-by-quarter", year)["items"]
        if not seen or items != seen[-1]:
            seen.append(items)
        time.sleep(0.01)
    return seen


def audit(database: Database, over: threading.Event) -> list[tuple[Any, ...]]:
    """Check for discrepancies continuously, up to the first."""
    found: list[tuple[Any, ...]] = []
    with database.connect() as connection:
        while not found and not over.is_set():
            found = connection.execute("select * from raw.discrepancies").fetchall()
            time.sleep(0.01)
    return found


def published(database: Database, year: int) -> list[dict[str, Any]]:
    """Return metric 1 as the last build has left it."""
    return database.dicts(
        """
        select department, job, q1 as "Q1", q2 as "Q2", q3 as "Q3", q4 as "Q4" from marts.hires_by_quarter
        where year = %s order by department collate "C", job collate "C", department_id, job_id
        """,
        year,
    )


def merged(several: Iterable[Loads]) -> Loads:
    every = list(several)
    together = {load_id: content for loads in every for load_id, content in loads.items()}
    assert len(together) == sum(map(len, every))
    return together


@dataclass(frozen=True)
class Story:
    """The result.

    Attributes:
        loads: what was accepted, by the load ids that were told.
        states: metric 1 as each build left it, by year.
        seen: metric 1 as a reader saw it change, by year.
        discrepancies: what did not add up between the ledger and the records, at any time.
    """

    loads: Loads
    states: dict[int, list[Any]]
    seen: dict[int, list[Any]]
    discrepancies: list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def clients(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """Two processes of the API: only the database can tell that both are sent the same."""
    folders = [tmp_path_factory.mktemp("api") for _ in range(2)]
    with running(module_database, folders[0]) as one, running(module_database, folders[1]) as other:
        yield one.client, other.client


@pytest.fixture(scope="module")
def landings(module_database: Database, s3_server: tuple[Settings, Path]) -> list[Landing]:
    """A bucket for this module, as each table sees it."""
    bucket = fresh_bucket(*s3_server)
    return [Landing(module_database, bucket, table) for table in TABLES]


@contextmanager
def looking_on(clients: Clients, database: Database) -> Iterator[tuple[list[Future[list[Any]]], Future[list[Any]]]]:
    """Run a reader of each year and an auditor while the block runs."""
    over = threading.Event()
    with ThreadPoolExecutor(len(YEARS) + 1) as threads:
        readers = [threads.submit(read, *each, over) for each in zip(clients, YEARS, strict=True)]
        try:
            yield readers, threads.submit(audit, database, over)
        finally:
            over.set()


@pytest.fixture(scope="module")
def dbt(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dbt]:
    """dbt on the database that the tests of this module share."""
    with running_dbt(module_database, tmp_path_factory.mktemp("dbt")) as run:
        yield run


@pytest.fixture(scope="module")
def story(module_database: Database, landings: list[Landing], clients: Clients, dbt: Dbt) -> Story:
    """Write, load, build and read until there were enough builds, and build once more."""
    states: dict[int, list[Any]] = {year: [] for year in YEARS}

    def build() -> None:
        refresh(module_database, dbt)
        for year in YEARS:
            states[year].append(published(module_database, year))

    first = [
        landing.load(0, [(str(n), f"{landing.table.name} {n}") for n in NAMED[landing.table][:3]])
        for landing in landings
        if landing.table in NAMED
    ]
    build()
    builds = Builds()
    with (
        looking_on(clients, module_database) as (readers, auditor),
        ThreadPoolExecutor(WRITERS + len(landings)) as threads,
    ):
        work = [threads.submit(write, clients[:: (-1) ** n], n, builds) for n in range(WRITERS)]
        work += [threads.submit(landing.load_on, builds) for landing in landings]
        try:
            while not all(each.done() for each in work):
                build()
                builds.add(1)
        finally:
            builds.add(math.inf)
        loads = merged([*first, *(each.result() for each in work)])
        build()
    seen = {year: reader.result() for year, reader in zip(YEARS, readers, strict=True)}
    return Story(loads, states, seen, auditor.result())


def difference(found: Iterable[tuple[Any, ...]], due: Iterable[tuple[Any, ...]]) -> dict[str, Counter[Any]]:
    """Return surplus, duplicate and missing records."""
    there, wanted = Counter(found), Counter(due)
    return {name: left for name, left in (("odd", there - wanted), ("missing", wanted - there)) if left}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_accepted_record_is_in_raw_once_in_the_load_of_its_response(
    story: Story, module_database: Database, table: Table
) -> None:
    """Refused batches and repetitions are not stored, and nothing else is either."""
    due = [
        (load_id, number, *row)
        for load_id, content in story.loads.items()
        if content.table == table.name
        for number, row in content.rows.items()
    ]
    found = module_database.rows(f"select _load_id, _record, {', '.join(table.column_names)} from raw.{table.name}")
    assert difference(found, due) == {}


def test_every_record_that_was_to_be_kept_apart_is(story: Story, module_database: Database) -> None:
    due = [
        (load_id, number, *rejected)
        for load_id, content in story.loads.items()
        for number, rejected in content.rejected.items()
    ]
    found = module_database.rows("select load_id, record, reason, raw from raw.rejected_records")
    assert difference(found, due) == {}


def test_the_ledger_accounts_for_every_record_of_every_load_and_for_no_other(
    story: Story, module_database: Database
) -> None:
    due = [
        (load_id, content.table, "complete", len(content.rows) + len(content.rejected), len(content.rows))
        for load_id, content in story.loads.items()
    ]
    found = module_database.rows("select load_id, table_name, status, records, loaded from raw.loads")
    assert difference(found, due) == {}
    completions = module_database.rows("select completion from raw.loads order by completion")
    assert completions == [(number,) for number in range(1, len(due) + 1)]


def test_ledger_and_records_agree_at_any_time(story: Story, module_database: Database) -> None:
    assert story.discrepancies == []
    assert module_database.rows("select * from raw.discrepancies") == []


def in_order(loads: Loads, table: Table) -> pd.DataFrame:
    """Return a table's rows as the oracle's input, later ones last."""
    contents = [content for _, content in sorted(loads.items()) if content.table == table.name]
    rows = [row for content in contents for _, row in sorted(content.rows.items())]
    return pd.DataFrame(rows, columns=list(table.column_names), dtype="string")


@pytest.mark.parametrize("year", YEARS)
def test_the_metrics_are_those_of_what_was_accepted_by_the_order_of_load_ids(
    story: Story, clients: Clients, year: int
) -> None:
    frames = {table.name: in_order(story.loads, table) for table in TABLES}
    items = oracle.hires_by_quarter(frames, year)
    mean, above = oracle.departments_above_mean(frames, year)
    assert len(items) > 20
    assert story.states[year][-1] == items
    # The word of the last build may still be on its way.
    eventually(lambda: all(ask(client, "hires-by-quarter", year)["items"] == items for client in clients))
    eventually(lambda: all(ask(client, "departments-above-mean", year)["items"] == above for client in clients))
    assert [ask(client, "departments-above-mean", year)["mean"] for client in clients] == [pytest.approx(mean)] * 2


def test_each_sender_can_see_what_became_of_every_record_of_a_batch(
    story: Story, clients: Clients, module_database: Database
) -> None:
    """Accepted records count, were replaced or wait, and their sender has no other way to see which."""
    due = module_database.rows("""
        select disposition, count(*) from staging.checked_hired_employees
        inner join raw.loads on _load_id = load_id
        where source = 'api'
        group by disposition
    """)
    found: Counter[str] = Counter()
    over_http = {load_id for (load_id,) in module_database.rows("select load_id from raw.loads where source = 'api'")}
    for load_id, content in story.loads.items():
        answer = clients[0].get(f"/loads/{load_id}")
        assert answer.status_code == (200 if load_id in over_http else 404)
        if load_id in over_http:
            batch = answer.json()
            dispositions = {name: batch[name] for name in ("accepted", "superseded", "withdrawn", "waiting")}
            assert (batch["status"], batch["rejected"]) == ("published", len(content.rejected))
            assert sum(dispositions.values()) == len(content.rows) == batch["records"] - batch["rejected"]
            found.update(dispositions)
    assert +found == Counter(dict(due))
    assert {"accepted", "superseded", "waiting"} <= {*+found}


def test_records_in_no_metric_are_reported_to_readers_of_metrics(
    story: Story, clients: Clients, module_database: Database
) -> None:
    def is_right(client: httpx.Client) -> bool:
        (hires,) = (
            table for table in client.get("/completeness").json()["tables"] if table["table_name"] == "hired_employees"
        )
        return (hires["loads"], hires["waiting"], hires["open_records"]) == (loads, waiting, open_records)

    loads = sum(content.table == "hired_employees" for content in story.loads.values())
    ((waiting, open_records),) = module_database.rows("""
        select
            (select count(*) from staging.checked_hired_employees where disposition = 'waiting'),
            (
                select count(*) from staging.rejected_records
                where table_name = 'hired_employees' and status = 'open'
            )
    """)
    assert waiting > 0
    assert open_records > 0
    eventually(lambda: all(map(is_right, clients)))


def test_a_rejected_record_of_a_batch_can_be_found_by_its_id_and_name(story: Story, module_database: Database) -> None:
    assert story.loads
    found = module_database.rows("""
        select distinct id, name from staging.rejected_records
        where table_name = 'hired_employees' and object is null
    """)
    assert set(found) == {("1", "Ada"), ("1", " "), (None, None)}


@pytest.mark.parametrize("year", YEARS)
def test_readers_saw_whole_builds_and_never_went_back_to_an_earlier_one(story: Story, year: int) -> None:
    assert len(story.seen[year]) > 1
    builds = iter(story.states[year])
    assert [state for state in story.seen[year] if state not in builds] == []
