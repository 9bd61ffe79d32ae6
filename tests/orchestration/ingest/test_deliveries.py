"""Snapshots: an object that lacks too many ids is held until a person releases it."""

from dataclasses import replace

import pytest

from contracts import Column, Delivery
from orchestration.ingest.limits import RejectLimit
from orchestration.ingest.loader import Loaded, Policy, load_object, reload_object
from orchestration.ingest.objects import current_version
from orchestration.ingest.session import TableSession
from tests.orchestration.ingest.conftest import JOBS, Landing, statuses

WHOLE_JOBS = replace(JOBS, delivery=Delivery.SNAPSHOT)
AS_USUAL = Policy(RejectLimit(1), give_up_seconds=0)
ALL_MAY_GO = replace(AS_USUAL, withdraw_share=1)


def ids(*numbers: object) -> bytes:
    return "".join(f"{number},job\n" for number in numbers).encode()


@pytest.fixture
def ten(landing: Landing) -> Landing:
    """A bucket and a database with ten jobs, all of them delivered in one object."""
    landing.bucket.put("jobs_1.csv", ids(*range(1, 11)), age_seconds=60)
    landing.load_one(WHOLE_JOBS, AS_USUAL)
    return landing


@pytest.mark.parametrize(
    ("delivered", "lacking"),
    [
        pytest.param(range(1, 9), None, id="a fifth is lacking"),
        pytest.param(range(1, 8), 3, id="more than a fifth is lacking"),
        pytest.param([], 10, id="nothing is delivered"),
        pytest.param(range(11, 31), 10, id="others are delivered, and more of them"),
        pytest.param(
            ["007", "+8", " 9 ", "10.0", "5\u00a0", "4\ufeff", "\u200b3\t", 2, "01"],
            None,
            id="ids are written in other ways",
        ),
        pytest.param([*range(1, 8), "8 a", "9;", ""], 3, id="ids that cannot be read are lacking"),
    ],
)
def test_a_delivery_that_lacks_too_many_ids_is_held_back(ten: Landing, delivered: range, lacking: int | None) -> None:
    """An export that broke off in the middle would take most people out of every metric."""
    ten.bucket.put("jobs_2.csv", ids(*delivered))
    if lacking is None:
        ten.load_one(WHOLE_JOBS, AS_USUAL)
        return
    held = ten.fail_one(WHOLE_JOBS, AS_USUAL)
    assert held.status == "held"
    assert held.message == (
        f"s3://{ten.bucket.name}/jobs_2.csv: it is held back, because it lacks {lacking} of the 10 ids that count, "
        "more than 20%, and would withdraw them; if they are to go, load it again with withdraw_share 1"
    )
    assert ten.database.rows("select status, error, completed_at from raw.loads where key = 'jobs_2.csv'") == [
        ("held", held.message, None)
    ]
    assert ten.load(WHOLE_JOBS, AS_USUAL) == []


def test_what_counts_is_the_newest_delivery_and_the_batches_after_it(ten: Landing) -> None:
    ten.bucket.put("jobs_2.csv", ids(*range(1, 9)), age_seconds=30)
    ten.load_one(WHOLE_JOBS, AS_USUAL)
    ten.database.execute("""
        with batch as (
            insert into raw.loads (table_name, source, status, records, loaded, malformed, invalid, rejected,
                completed_at)
            values ('jobs', 'api', 'complete', 2, 2, 0, 0, 0, now()) returning load_id
        )
        insert into raw.jobs (_load_id, _record, id, job)
        select load_id, number, (number + 20)::text, 'job' from batch, generate_series(1, 2) as number
    """)
    # Eight and two: of these ten three would go.
    ten.bucket.put("jobs_3.csv", ids(*range(1, 8)))
    assert "it lacks 3 of the 10 ids that count" in ten.fail_one(WHOLE_JOBS, AS_USUAL).message


def test_an_id_whose_record_is_rejected_is_not_lacking(ten: Landing) -> None:
    """A stray quote in the line of a department would otherwise take its hires out of every metric."""
    ten.bucket.put("jobs_2.csv", ids(*range(1, 8)) + b'8,"a"b\n9,\n10,a,b\n')
    assert ten.load_one(WHOLE_JOBS, replace(AS_USUAL, withdraw_share=0)).totals.malformed == 2


def test_a_correction_of_rejected_records_is_neither_held_back_nor_what_counts(ten: Landing) -> None:
    """A corrected export has only the records that were rejected."""
    ten.bucket.put("jobs_2.csv", b"id,job,_load_id,_record\n11,job,1,1\n", age_seconds=30)
    ten.load_one(WHOLE_JOBS, AS_USUAL)
    ten.bucket.put("jobs_3.csv", ids(*range(1, 8)))
    assert "it lacks 4 of the 11 ids that count" in ten.fail_one(WHOLE_JOBS, AS_USUAL).message


def test_a_table_whose_objects_add_to_it_is_never_held_back(ten: Landing) -> None:
    ten.bucket.put("jobs_2.csv", ids(99))
    ten.load_one(JOBS, AS_USUAL)


@pytest.mark.parametrize("load_once_more", [load_object, reload_object])
def test_a_held_delivery_counts_once_somebody_releases_it(ten: Landing, load_once_more: type[object]) -> None:
    ten.bucket.put("jobs_2.csv", ids(1))
    ten.fail_one(WHOLE_JOBS, AS_USUAL)
    item = current_version(ten.bucket.client, ten.bucket.name, "jobs_2.csv")
    with TableSession(ten.conninfo, WHOLE_JOBS, 0) as session:
        outcome = load_once_more(session, ten.bucket.client, item, ALL_MAY_GO)  # type: ignore[call-arg]
    assert isinstance(outcome, Loaded)
    assert statuses(ten.database)[-1] == ("jobs_2.csv", "complete")
    assert ten.database.rows("select count(*) from raw.loads where status = 'complete'") == [(2,)]


def test_retrying_an_older_delivery_withdraws_nothing(ten: Landing) -> None:
    ten.bucket.put("jobs_0.csv", b"1\n" * 3, age_seconds=90)
    ten.fail_one(WHOLE_JOBS, replace(AS_USUAL, reject_limit=RejectLimit(0)))
    ten.bucket.put("jobs_2.csv", ids(*range(1, 11)))
    ten.load_one(WHOLE_JOBS, AS_USUAL)
    item = current_version(ten.bucket.client, ten.bucket.name, "jobs_0.csv")
    with TableSession(ten.conninfo, WHOLE_JOBS, 0) as session:
        assert isinstance(load_object(session, ten.bucket.client, item, AS_USUAL), Loaded)


def test_ids_that_are_text_are_compared_without_the_spaces_around_them(landing: Landing) -> None:
    table = replace(WHOLE_JOBS, columns=(Column("id", primary_key=True), Column("job")))
    landing.bucket.put("jobs_1.csv", b"id,job\na,Cook\nb,Cook\nc,Cook\n", age_seconds=60)
    landing.load_one(table, AS_USUAL)
    landing.bucket.put("jobs_2.csv", b"id,job\n a ,Cook\nb,Cook\nx,Cook\n")
    assert "it lacks 1 of the 3 ids" in landing.fail_one(table, AS_USUAL).message
