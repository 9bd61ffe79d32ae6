"""Runs that receive the objects found by a sensor, and runs that list the bucket themselves, once."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from contracts import TABLES
from orchestration.defs import jobs
from orchestration.defs.jobs import refresh_config
from orchestration.defs.raw import FoundObject, LoadConfig, raw_asset
from orchestration.defs.resources import Warehouse
from orchestration.ingest.candidates import list_pending
from orchestration.ingest.objects import ObjectVersion
from tests.conftest import Bucket, Database, environment
from tests.orchestration.conftest import landing_of

NAMES = sorted(table.name for table in TABLES)
JOBS = next(table for table in TABLES if table.name == "jobs")
ASSETS = [raw_asset(table) for table in TABLES]

Found = list[Any]
Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def run(database: Database, bucket: Bucket) -> Iterator[Run]:
    """Load, with or without objects that were found."""
    with environment(database.environment), dg.DagsterInstance.ephemeral() as instance:

        def materialize(found: Found | None = None) -> dg.ExecuteInProcessResult:
            config = refresh_config(found or [])
            del config.ops["dbt_models"]  # type: ignore[attr-defined]
            wanted = [raw_asset(table) for table in TABLES if not found or any(owner == table for owner, _ in found)]
            resources = {
                "landing": landing_of(bucket),
                "warehouse": Warehouse(loader_password="hiring_loader", transformer_password="hiring_transformer"),  # noqa: S106
            }
            return dg.materialize(wanted, instance=instance, resources=resources, run_config=config)

        yield materialize


@pytest.fixture
def listings(bucket: Bucket) -> list[str]:
    """The prefixes of the listings that the bucket's client makes from here on: "" is the whole bucket.

    The tests' server gives no ETags, so each object is looked at by its key once it is read: whether it still is the
    version that was found.
    """
    made: list[str] = []
    bucket.client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: made.append(params.get("Prefix", ""))
    )
    return made


def found_in(database: Database, bucket: Bucket) -> Found:
    with database.connect("hiring_loader") as connection:
        return list(list_pending(connection, bucket.client, bucket.name))


def loads(database: Database) -> list[tuple[Any, ...]]:
    return database.rows("select key, status, records from raw.loads order by load_id")


def test_a_run_loads_what_was_found_for_it_without_a_listing(
    run: Run, database: Database, bucket: Bucket, listings: list[str]
) -> None:
    """In a bucket of a million objects a listing takes minutes, and every run listed it once per table."""
    for name in NAMES:
        bucket.put(f"{name}.csv", b"")
    found = found_in(database, bucket)
    listings.clear()
    bucket.put("jobs_later.csv", b"2,b\n")

    assert run(found).success
    assert sorted(listings) == [f"{name}.csv" for name in NAMES]
    assert sorted(loads(database)) == [(f"{name}.csv", "complete", 0) for name in NAMES]
    assert run(found_in(database, bucket)).success
    assert loads(database)[-1] == ("jobs_later.csv", "complete", 1)


def test_a_run_that_a_person_launches_lists_the_bucket_once_for_all_tables(
    run: Run, database: Database, bucket: Bucket, listings: list[str]
) -> None:
    for name in NAMES:
        bucket.put(f"{name}.csv", b"")

    assert run().success
    assert sorted(listings) == ["", *(f"{name}.csv" for name in NAMES)]
    assert sorted(loads(database)) == [(f"{name}.csv", "complete", 0) for name in NAMES]
    bucket.put("jobs_later.csv", b"2,b\n")
    assert run().success
    assert listings.count("") == 2
    assert len(loads(database)) == 4


def test_a_found_object_that_was_overwritten_is_loaded_in_its_new_version_and_a_deleted_one_is_abandoned(
    run: Run, database: Database, bucket: Bucket, listings: list[str]
) -> None:
    bucket.put("jobs_gone.csv", b"1,a\n", age_seconds=90)
    bucket.put("jobs_overwritten.csv", b"1,a\n", age_seconds=60)
    bucket.put("jobs_kept.csv", b"1,a\n", age_seconds=30)
    found = found_in(database, bucket)
    listings.clear()
    (bucket.folder / "jobs_gone.csv").unlink()
    bucket.put("jobs_overwritten.csv", b"1,b\n2,c\n")

    assert run(found).success
    assert loads(database) == [
        ("jobs_gone.csv", "abandoned", 0),
        ("jobs_overwritten.csv", "abandoned", 0),
        ("jobs_kept.csv", "complete", 1),
        ("jobs_overwritten.csv", "complete", 2),
    ]
    # After reading, the unchanged one; then the changed one and nothing else; and that one after reading.
    assert listings == ["jobs_kept.csv", "jobs_gone.csv", "jobs_overwritten.csv", "jobs_overwritten.csv"]


def test_a_found_object_that_was_loaded_or_has_failed_meanwhile_is_not_loaded_again(
    run: Run, database: Database, bucket: Bucket
) -> None:
    bucket.put("jobs.csv", b"1,a\n")
    bucket.put("jobs_bad.csv.gz", b"not gzip")
    found = found_in(database, bucket)
    assert run().success
    before = database.rows("select * from raw.loads")

    assert run(found).success
    assert database.rows("select * from raw.loads") == before


def test_an_unfinished_load_of_another_object_is_kept_while_the_object_exists(
    run: Run, database: Database, bucket: Bucket
) -> None:
    """A run that knows some objects only must not take the others for deleted."""
    for key in ("jobs_there.csv", "jobs_gone.csv", "jobs_new.csv"):
        bucket.put(key, b"1,a\n")
    for table, item in found_in(database, bucket):
        if item.key != "jobs_new.csv":
            database.execute(
                """
                insert into raw.loads (table_name, source, bucket, key, version, bytes)
                values (%s, 'object', %s, %s, %s, 4)
                """,
                *(table.name, item.bucket, item.key, item.version),
            )
    found = [(table, item) for table, item in found_in(database, bucket) if item.key == "jobs_new.csv"]
    (bucket.folder / "jobs_gone.csv").unlink()

    assert run(found).success
    assert {key: status for key, status, _ in loads(database)} == {
        "jobs_there.csv": "loading",
        "jobs_gone.csv": "abandoned",
        "jobs_new.csv": "complete",
    }
    assert run().success
    assert ("jobs_there.csv", "complete", 1) in loads(database)


def test_an_object_with_any_key_passes_through_the_configuration_unchanged(database: Database, bucket: Bucket) -> None:
    for key in ["jobs 1+2 %41 é.csv", 'jobs/it\'s "quoted" & <b>.csv', "jobs/a=b&c?d#e.csv.gz"]:
        bucket.put(key, b"1,a\n")
    for _, item in found_in(database, bucket):
        config = LoadConfig(objects=[FoundObject.of(item)])
        assert LoadConfig(**config.model_dump()).objects[0].in_bucket(bucket.name) == item


def test_of_more_objects_than_a_configuration_holds_none_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_OBJECTS_IN_CONFIG", 1)
    moment = FoundObject(
        key="jobs.csv", version="v", etag="v", size=1, last_modified="2021-01-01T00:00:00+00:00", is_weak=False
    )
    item: ObjectVersion = moment.in_bucket("landing")
    assert set(refresh_config([(JOBS, item)]).ops) == {"dbt_models", "raw__jobs"}
    assert set(refresh_config([(JOBS, item)] * 2).ops) == {"dbt_models"}
