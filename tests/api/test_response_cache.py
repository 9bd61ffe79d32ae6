"""Cached responses: never older than the marts as far as the API can know, and available without Postgres."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
from fastapi import Request

from api.caching.conditional_requests import Validators
from api.caching.response_cache import CacheableResponse, ResponseCache
from tests.api.conftest import build_marts, eventually, publish, serving, settings_for
from tests.conftest import Database

HIRES = "/metrics/hires-by-quarter"
ABOVE = "/metrics/departments-above-mean"
# Each is requested once.
YEARS = itertools.count(1901)
GROW = "update marts.hires_by_quarter set q1 = q1 + 1"


@pytest.fixture(scope="module")
def server(module_database: Database) -> Iterator[httpx.Client]:
    build_marts(module_database)
    publish(module_database, "insert into marts.departments_above_mean values (2021, 1, 'Sales', 1, 0.5)")
    with serving(settings_for(module_database, api_cors_origins=["https://example.org"])) as client:
        # Until the API listens for builds, it queries Postgres each time.
        eventually(lambda: is_kept(client, module_database))
        yield client


@pytest.fixture
def client(server: httpx.Client, module_database: Database) -> httpx.Client:
    """A running API whose marts have just been built: one row, with one hire in the first quarter."""
    year = next(YEARS)
    # A response that is cached until the API has heard of the build: later responses of the test are not invalidated.
    assert server.get(f"{ABOVE}?year={year}").json()["items"] == []
    publish(
        module_database,
        f"""
        truncate marts.hires_by_quarter, marts.departments_above_mean;
        insert into marts.hires_by_quarter values (2021, 1, 'Sales', 1, 'Clerk', 1, 0, 0, 0);
        insert into marts.departments_above_mean values (2021, 1, 'Sales', 1, 0.5), ({year}, 1, 'Sales', 1, 0.5)
        """,
    )
    eventually(lambda: len(server.get(f"{ABOVE}?year={year}").json()["items"]) == 1)
    return server


def first_quarter(client: httpx.Client, address: str = HIRES, **headers: str) -> int:
    answer = client.get(address, headers=headers)
    assert answer.status_code == 200
    return int(answer.json()["items"][0]["Q1"])


def build_slow_marts(database: Database) -> None:
    """Create the marts; marts.hires is read through a view whose queries wait while a test holds a lock."""
    build_marts(database)
    database.execute("""
        alter table marts.hires_by_quarter rename to hires;
        create function marts.wait_for_the_test() returns boolean language plpgsql security definer as
            'begin perform pg_advisory_xact_lock_shared(1); return true; end';
        create view marts.hires_by_quarter as select * from marts.hires where marts.wait_for_the_test();
        grant select on marts.hires_by_quarter to hiring_api;
        insert into marts.departments_above_mean values (2021, 1, 'Sales', 1, 0.5)
    """)


def is_kept(client: httpx.Client, database: Database) -> bool:
    """Whether a cached response outlives a change without a notification."""
    before = client.get(ABOVE).json()
    database.execute("update marts.departments_above_mean set hired = hired + 1")
    return bool(client.get(ABOVE).json() == before)


def queries_under_way(database: Database) -> int:
    """How many queries wait for the test's lock."""
    ((waiting,),) = database.rows("select count(*) from pg_locks where locktype = 'advisory' and not granted")
    return int(waiting)


@pytest.mark.parametrize(
    ("one", "another"),
    [
        (HIRES, HIRES),
        (HIRES, f"{HIRES}?year=2021&limit=100&offset=0"),
        (f"{HIRES}?department=Sales&department=Legal&job=", f"{HIRES}?department=Legal&department=Sales&year=2021"),
    ],
)
def test_a_question_is_put_to_postgres_once_however_it_is_spelled(
    client: httpx.Client, module_database: Database, one: str, another: str
) -> None:
    assert first_quarter(client, one) == 1
    module_database.execute(GROW)  # without a notification
    assert first_quarter(client, one) == 1
    assert first_quarter(client, another) == 1


def test_a_build_that_is_notified_invalidates_every_cached_response(
    client: httpx.Client, module_database: Database
) -> None:
    addresses = [HIRES, f"{HIRES}?limit=1", f"{HIRES}?department=Sales"]
    assert [first_quarter(client, address) for address in addresses] == [1, 1, 1]
    publish(module_database, GROW)
    for address in addresses:
        eventually(lambda address=address: first_quarter(client, address) == 2)  # type: ignore[misc]


def test_a_response_computed_before_a_build_is_not_cached_after_it(database: Database) -> None:
    """The race: a slow query has its snapshot, a build is notified, and only then the old rows arrive."""
    build_slow_marts(database)
    publish(database, "insert into marts.hires values (2021, 1, 'Sales', 1, 'Clerk', 1, 0, 0, 0)")
    with serving(settings_for(database)) as client, ThreadPoolExecutor() as threads:
        eventually(lambda: "age" not in client.get(ABOVE).headers)
        with database.connect() as holder:
            holder.execute("select pg_advisory_lock(1)")
            slow = threads.submit(first_quarter, client)
            eventually(lambda: queries_under_way(database) == 1)
            publish(
                database,
                "update marts.hires set q1 = 2; update marts.departments_above_mean set hired = 2 where year = 2021",
            )
            eventually(lambda: client.get(ABOVE).json()["items"][0]["hired"] == 2)
            holder.execute("select pg_advisory_unlock(1)")
        assert slow.result() == 1
        assert first_quarter(client) == 2


def test_those_who_ask_the_same_at_the_same_time_share_one_query(database: Database) -> None:
    """A build invalidates all responses together; a response that a thousand readers request is computed once."""
    build_slow_marts(database)
    publish(database, "insert into marts.hires values (2021, 1, 'Sales', 1, 'Clerk', 1, 0, 0, 0)")
    with serving(settings_for(database)) as client, ThreadPoolExecutor() as threads, database.connect() as holder:
        # From then on nothing invalidates responses.
        eventually(lambda: is_kept(client, database))
        holder.execute("select pg_advisory_lock(1)")
        impatient = threads.submit(client.get, HIRES, timeout=0.5)
        eventually(lambda: queries_under_way(database) == 1)
        same = [threads.submit(first_quarter, client) for _ in range(5)]
        another = threads.submit(first_quarter, client, f"{HIRES}?limit=1")
        eventually(lambda: queries_under_way(database) == 2)
        with pytest.raises(httpx.ReadTimeout):
            impatient.result()
        time.sleep(0.2)
        assert queries_under_way(database) == 2
        assert not any(asked.done() for asked in same)
        holder.execute("select pg_advisory_unlock(1)")
        assert [asked.result() for asked in (*same, another)] == [1] * 6


def test_what_was_missed_while_the_listening_connection_was_lost_is_made_up_for(
    client: httpx.Client, module_database: Database
) -> None:
    assert first_quarter(client) == 1
    module_database.execute(GROW)
    module_database.execute("""
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and usename = 'hiring_api' and query ilike 'listen%'
    """)
    eventually(lambda: first_quarter(client) == 2)


def test_while_postgres_is_down_cached_responses_are_returned_with_their_age(
    database: Database, tmp_path: Path
) -> None:
    build_marts(database)
    publish(database, "insert into marts.hires_by_quarter values (2021, 1, 'Sales', 1, 'Clerk', 1, 0, 0, 0)")
    sockets = tmp_path / "sockets"
    sockets.symlink_to(database.postgres.host)
    of_the_api = "from pg_stat_activity where usename = 'hiring_api' and datname = current_database()"
    settings = settings_for(database, pghost=str(sockets), api_database_timeout_seconds=0.5)
    with serving(settings) as client:
        addresses = [HIRES, ABOVE, "/"]
        fresh = [client.get(address) for address in addresses]
        assert [(answer.status_code, "age" in answer.headers) for answer in fresh] == [(200, False)] * 3

        sockets.unlink()
        database.rows(f"select pg_terminate_backend(pid, 5000) {of_the_api}")
        eventually(lambda: "age" in client.get(HIRES).headers)
        for before, address in zip(fresh, addresses, strict=True):
            answer = client.get(address)
            assert (answer.status_code, answer.text) == (200, before.text)
            assert int(answer.headers["age"]) >= 0
            known = client.get(address, headers={"If-None-Match": before.headers["etag"]})
            assert (known.status_code, "age" in known.headers) == (304, True)
        for unknown in (f"{HIRES}?year=2020", f"{HIRES}?format=csv"):
            assert client.get(unknown).status_code == 503

        sockets.symlink_to(database.postgres.host)
        database.execute(GROW)
        eventually(lambda: first_quarter(client) == 2 and "age" not in client.get(HIRES).headers)


def test_marts_that_were_never_published_are_read_each_time(database: Database) -> None:
    """A database whose marts were built by an older release."""
    build_marts(database)
    database.execute("insert into marts.hires_by_quarter values (2021, 1, 'Sales', 1, 'Clerk', 1, 0, 0, 0)")
    with serving(settings_for(database)) as client:
        assert first_quarter(client) == 1
        database.execute(GROW)
        answer = client.get(HIRES)
        assert answer.json()["items"][0]["Q1"] == 2
        assert not {"etag", "last-modified"} & set(answer.headers)
        assert client.get(f"{HIRES}?format=csv").text.count("\n") == 2
        database.execute("insert into marts.publications values ('departments_above_mean', 1, now())")
        assert "etag" not in client.get(ABOVE).headers  # which hires_by_quarter has a part in
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("address", [HIRES, ABOVE, f"{HIRES}?format=csv", f"{ABOVE}?format=csv", "/"])
def test_a_client_that_has_the_response_already_gets_a_304(
    client: httpx.Client, module_database: Database, address: str
) -> None:
    answer = client.get(address)
    etag, modified = answer.headers["etag"], answer.headers["last-modified"]

    def status(**conditions: str) -> int:
        again = client.get(address, headers={name.replace("_", "-"): value for name, value in conditions.items()})
        assert (again.status_code == 304) == (again.content == b"")
        assert again.headers["etag"] == etag
        assert {"cache-control", "vary"} <= set(again.headers)
        assert again.status_code == 200 or not {"content-type", "content-length"} & set(again.headers)
        return again.status_code

    assert not etag.startswith("W/")
    assert status(if_none_match=etag) == 304
    assert status(if_none_match=f'"other", W/{etag}') == 304
    assert status(if_none_match="*") == 304
    assert status(if_none_match='"other"') == 200
    assert status(if_modified_since=modified) == 304
    assert status(if_modified_since="Sat, 01 Jan 2000 00:00:00 GMT") == 200
    assert status(if_modified_since="yesterday") == 200
    assert status(if_none_match='"other"', if_modified_since=modified) == 200
    publish(module_database)
    eventually(lambda: client.get(address, headers={"If-None-Match": etag}).status_code == 200)


def test_each_question_in_each_format_has_a_tag_of_its_own(client: httpx.Client) -> None:
    addresses = [
        f"{path}?{query}"
        for path in (HIRES, ABOVE)
        for query in ("year=2021", "year=2020", "year=2021&format=csv", "year=2020&format=csv")
    ]
    tags = [client.get(address).headers["etag"] for address in [*addresses, f"{HIRES}?limit=1", "/"]]
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("address", [HIRES, ABOVE, f"{HIRES}?format=csv", "/", f"{HIRES}?limit=0"])
def test_head_is_get_without_the_body(client: httpx.Client, address: str) -> None:
    for _ in ("from Postgres", "from memory"):
        head = client.head(address)
        get = client.get(address)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-length"] == str(len(get.content))
        varying = {"date", "x-request-id"}
        assert {name for name, value in get.headers.items() if head.headers.get(name) != value} <= varying


def test_no_response_depends_on_the_requested_host(client: httpx.Client) -> None:
    """Otherwise anybody could have everybody led astray, by asking first under a name of his own."""
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
    for address in (HIRES, "/", "/openapi.json"):
        answers = [client.get(address, headers=headers) for headers in (forged, {}, forged)]
        for answer in answers:
            assert not any(word in f"{answer.headers} {answer.text}" for word in ("evil.example", "gopher"))
        assert {answer.content for answer in answers} == {answers[0].content}
        assert {answer.headers.get("link") for answer in answers} == {answers[0].headers.get("link")}


def test_a_header_of_the_request_adds_nothing_to_the_response(client: httpx.Client) -> None:
    answers = [client.get(HIRES, headers={"Origin": "https://example.org"}) for _ in range(4)]
    assert len({len(answer.headers.multi_items()) for answer in answers[1:]}) == 1
    assert "access-control-allow-origin" not in client.get(HIRES).headers


def test_a_refusal_is_not_kept(client: httpx.Client) -> None:
    assert [client.get(f"{HIRES}?limit=0").status_code for _ in range(2)] == [422, 422]
    assert client.get(HIRES).status_code == 200


def asked(path: str = "/x") -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "scheme": "http",
            "headers": [],
            "route": 0,
        }
    )


class Source:
    """What answers are computed from: it counts how often, and can be away."""

    def __init__(self, size: int = 10) -> None:
        self.computed = 0
        self.is_away = False
        self._size = size

    async def __call__(self) -> CacheableResponse:
        if self.is_away:
            raise psycopg.OperationalError
        self.computed += 1
        return CacheableResponse("x" * self._size, "text/plain", Validators(b'"tag"', datetime(2021, 1, 1, tzinfo=UTC)))


def get(cache: ResponseCache, source: Source, path: str = "/x") -> CacheableResponse:
    return asyncio.run(cache.get_or_compute(asked(path), (path,), source))


@pytest.mark.parametrize(
    ("is_listening", "max_seconds", "computed"),
    [(True, 60, 1), (True, 0, 2), (False, 60, 2)],
    ids=["heard", "beyond the time limit", "not listening"],
)
def test_a_response_is_fresh_only_while_the_api_hears_of_changes_and_not_for_ever(
    is_listening: bool, max_seconds: float, computed: int
) -> None:
    cache, source = ResponseCache(10**6, max_seconds), Source()
    if is_listening:
        cache.listen()
    for _ in range(2):
        assert b"age" not in dict(get(cache, source).raw_headers)
    assert source.computed == computed
    assert (cache.lookup(asked().scope) is None) == (computed == 2)


def test_beyond_the_time_limit_an_old_response_is_better_than_none() -> None:
    cache, source = ResponseCache(10**6, max_seconds=0), Source()
    cache.listen()
    get(cache, source)
    source.is_away = True
    assert b"age" in dict(get(cache, source).raw_headers)
    with pytest.raises(psycopg.OperationalError):
        get(cache, source, "/another")


def test_the_least_recently_used_responses_are_evicted() -> None:
    cache, source = ResponseCache(2_000_000, 60), Source(size=600_000)
    cache.listen()
    for path in ("/a", "/b", "/c", "/a", "/d"):
        get(cache, source, path)
    assert [cache.lookup(asked(path).scope) is not None for path in ("/a", "/b", "/c", "/d")] == [
        True, False, True, True,
    ]  # fmt: skip
    get(cache, Source(size=3_000_000), "/too-large")
    assert cache.lookup(asked("/too-large").scope) is None
    assert cache.lookup(asked("/a").scope) is not None
