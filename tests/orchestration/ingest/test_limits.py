"""How many records of an object may be rejected, and the message about an object that exceeds that."""

from collections.abc import Sequence
from typing import Any

import pytest

from orchestration.ingest.ledger import Totals
from orchestration.ingest.limits import SAMPLES, RejectLimit, Tally, diagnosis, likely_cause
from orchestration.ingest.loader import Loaded, Policy, load_object
from orchestration.ingest.objects import file_version, list_objects
from orchestration.ingest.rejections import Example
from orchestration.ingest.session import TableSession
from orchestration.ingest.validate import dry_run
from tests.orchestration.ingest.conftest import HIRED_EMPLOYEES, JOBS, Landing, invalid_records, jobs, statuses


def policy(share: float = 0.5, count: int = 100_000) -> Policy:
    return Policy(RejectLimit(share, count), give_up_seconds=0)


def example(record: int, reason: str, raw: bytes = b"raw", message: str = "is wrong") -> Example:
    return Example(record, record + 1, reason, message, raw)


@pytest.mark.parametrize(
    ("limit", "records", "rejected", "violation"),
    [
        pytest.param(RejectLimit(), 0, 0, None, id="no records"),
        pytest.param(RejectLimit(), 10, 0, None, id="none rejected"),
        pytest.param(RejectLimit(), 10, 5, None, id="just half"),
        pytest.param(RejectLimit(), 10, 6, "more than 50% of the records are rejected", id="more than half"),
        pytest.param(RejectLimit(), 1, 1, "more than 50% of the records are rejected", id="the only one"),
        pytest.param(RejectLimit(share=0), 10, 0, None, id="none allowed and none rejected"),
        pytest.param(RejectLimit(share=0), 10**6, 1, "more than 0% of the records are rejected", id="none allowed"),
        pytest.param(RejectLimit(share=1), 10, 10, None, id="all allowed"),
        pytest.param(RejectLimit(share=0.1), 10, 1, None, id="a tenth of ten"),
        pytest.param(RejectLimit(share=0.3), 10, 3, None, id="three of ten, which no binary fraction is"),
        pytest.param(RejectLimit(share=0.29), 100, 29, None, id="just 29 %, although 0.29 * 100 is less than 29"),
        pytest.param(
            RejectLimit(share=0.005), 100, 1, "more than 0.5% of the records are rejected", id="half a percent"
        ),
        pytest.param(RejectLimit(), 10**6, 100_000, None, id="just a hundred thousand"),
        pytest.param(RejectLimit(), 10**6, 100_001, "more than 100,000 records are rejected", id="one more"),
        pytest.param(RejectLimit(count=0), 10, 0, None, id="a count of none"),
        pytest.param(RejectLimit(count=0), 10, 1, "more than 0 records are rejected", id="one more than none"),
        pytest.param(RejectLimit(1, 2), 3, 3, "more than 2 records are rejected", id="the count although all may be"),
    ],
)
def test_a_limit_is_exceeded_by_more_than_it(
    limit: RejectLimit, records: int, rejected: int, violation: str | None
) -> None:
    assert limit.violation(Totals(records, rejected), at_end=True) == violation


def test_the_share_is_checked_at_the_end_and_the_count_immediately() -> None:
    """If the share were checked earlier, a bad beginning would fail a good file."""
    assert RejectLimit().violation(Totals(10, 10), at_end=False) is None
    assert RejectLimit().violation(Totals(10**6, 100_001), at_end=False) == "more than 100,000 records are rejected"


SEMICOLONS = "Every one of these has 1 field: is the delimiter ';'?"
TABS = "Every one of these has 1 field: is the delimiter a tab?"
PIPES = "Every one of these has 1 field: is the delimiter '|'?"
LATIN = "Is the file in Windows-1252 or Latin-1? Save it as UTF-8."
QUOTES = "Are quotes in quoted fields not doubled?"


@pytest.mark.parametrize(
    ("reason", "raws", "cause"),
    [
        ("too_few_fields", [b"1;a", b"2;b"], SEMICOLONS),
        ("too_few_fields", [b"1\ta", b"2\tb"], TABS),
        ("too_few_fields", [b"1|a", b"2|b"], PIPES),
        ("too_few_fields", [b"1|a;b", b"2|b"], PIPES),
        pytest.param("too_few_fields", [b"1;a", b"2"], None, id="one of them has no semicolon"),
        pytest.param("too_few_fields", [b"1;a", b"2;b,c"], None, id="one of them has a comma"),
        ("too_few_fields", [b"1", b"2"], None),
        ("too_many_fields", [b"1,a,b"], "Are there commas in fields that have no quotes around them?"),
        ("invalid_utf8", [b"1,\xe9"], LATIN),
        ("unclosed_quote", [b'1,"a'], QUOTES),
        ("stray_quote", [b'1,"a"b'], QUOTES),
        ("nul_character", [b"1\0,\0"], "Is the file in UTF-16? Save it as UTF-8."),
        ("too_long", [b"1,aaa"], None),
        ("refused_by_table", [b"1,a"], None),
    ],
)
def test_common_properties_of_rejected_records_suggest_a_likely_cause(
    reason: str, raws: Sequence[bytes], cause: str | None
) -> None:
    samples = [example(number, reason, raw) for number, raw in enumerate(raws)]
    assert likely_cause(samples) == cause
    assert diagnosis([(len(raws), samples)], Totals(10, len(raws))).endswith(cause or "is wrong")


def test_a_diagnosis_names_the_most_frequent_reason_and_the_first_record_of_it() -> None:
    by_reason = [
        (1500, [example(3, "invalid_utf8", b"1,\xe9", "is not UTF-8 from byte 3 on (0xE9)")]),
        (500, [example(1, "too_few_fields", b"1;a")]),
    ]
    assert diagnosis(by_reason, Totals(2100, 2000)) == (
        "2,000 of 2,100 rejected (2,000 malformed, 0 invalid), 1,500 of them as invalid_utf8; "
        f"the first, record 3 in line 4, is not UTF-8 from byte 3 on (0xE9). {LATIN}"
    )


def test_a_tally_counts_all_and_keeps_samples_of_each_reason() -> None:
    tally = Tally()
    assert tally.by_reason() == []
    tally.add([example(1, "too_long"), example(2, "invalid_utf8")])
    tally.add([example(number, "invalid_utf8") for number in range(3, 3 + SAMPLES)])
    (most, samples), (least, others) = tally.by_reason()
    assert (most, least) == (SAMPLES + 1, 1)
    assert [each.record for each in samples] == list(range(2, 2 + SAMPLES))
    assert [each.record for each in others] == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"1;a;x\n2;b;y\n3,c\n", "2 of 3 rejected (2 malformed, 0 invalid), 2 of them as "
                     "too_few_fields; the first, record 1 in line 1, has 1 field instead of 2. "
                     f"{SEMICOLONS}", id="semicolons"),
        pytest.param(b"\n1\ta\tx\n2\tb\ty\n", "2 of 2 rejected (2 malformed, 0 invalid), 2 of them as "
                     "too_few_fields; the first, record 1 in line 2, has 1 field instead of 2. "
                     f"{TABS}", id="tabs"),
        pytest.param(b"nr|x|y\n1|a|b\n2|b|c\n", "3 of 3 rejected (3 malformed, 0 invalid), 3 of them as "
                     "too_few_fields; the first, record 1 in line 1, has 1 field instead of 2. "
                     f"{PIPES}", id="pipes"),
        pytest.param("id,job\n1,café\n2,naïve\n3,Zoë\n4,d\n".encode("latin-1"), "3 of 4 rejected (3 malformed, "
                     "0 invalid), 3 of them as invalid_utf8; the first, record 1 in line 2, is not UTF-8 from byte 6 "
                     f"on (0xE9). {LATIN}", id="Latin-1"),
        pytest.param(b"1,a, b\n2,c, d\n3,e\n", "2 of 3 rejected (2 malformed, 0 invalid), 2 of them as "
                     "too_many_fields; the first, record 1 in line 1, has 3 fields instead of 2. Are there commas in "
                     "fields that have no quotes around them?", id="commas without quotes"),
        pytest.param(b'1,"a "b" c"\n2,"d "e" f"\n3,g\n', "2 of 3 rejected (2 malformed, 0 invalid), 2 of them as "
                     "stray_quote; the first, record 1 in line 1, has text after a closing quote, or a quote in a "
                     f"quoted field that is not doubled. {QUOTES}", id="quotes that are not doubled"),
        pytest.param(b'1\n2\n3,\xff\n4,d\n5,"\n"x\n', "5 of 6 rejected (5 malformed, 0 invalid), 2 of them as "
                     "too_few_fields; the first, record 1 in line 1, has 1 field instead of 2", id="several reasons"),
    ],
)  # fmt: skip
def test_an_object_with_mostly_rejected_records_fails_with_the_reason(
    landing: Landing, text: bytes, message: str
) -> None:
    landing.bucket.put("jobs.csv", text)
    failed = landing.fail_one()
    assert failed.status == "failed"
    assert failed.message == (
        f"s3://{landing.bucket.name}/jobs.csv: more than 50% of the records are rejected: {message}"
    )
    assert landing.database.rows("select status, error, completed_at from raw.loads") == [
        ("failed", failed.message, None)
    ]


def half_bad(records: int, bad: int) -> bytes:
    return b"".join(b"%d\n" % number if number < bad else b"%d,job\n" % number for number in range(records))


def test_an_object_of_which_half_is_rejected_loads_and_one_of_which_more_is_fails(landing: Landing) -> None:
    landing.bucket.put("jobs_half.csv", half_bad(2400, 1200), age_seconds=20)
    landing.bucket.put("jobs_more.csv", half_bad(2401, 1201), age_seconds=10)
    landing.load()
    assert statuses(landing.database) == [("jobs_half.csv", "complete"), ("jobs_more.csv", "failed")]


def test_a_bad_beginning_does_not_fail_an_object_that_is_good_on_the_whole(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.ingest.loader.CHUNKS_PER_TRANSACTION", 1)
    landing.bucket.put("jobs.csv", half_bad(5000, 2000))
    assert landing.load_one().totals.rejected == 2000


@pytest.mark.parametrize(("count", "loaded"), [(1500, True), (1499, False)])
def test_an_object_with_too_many_rejected_records_fails_immediately(
    landing: Landing, monkeypatch: pytest.MonkeyPatch, count: int, loaded: bool
) -> None:
    monkeypatch.setattr("orchestration.ingest.loader.CHUNKS_PER_TRANSACTION", 1)
    landing.bucket.put("jobs.csv", half_bad(10_000, 1500))
    (outcome,) = landing.load(policy=policy(count=count))
    assert isinstance(outcome, Loaded) == loaded
    # The chunk in which it became too many is the last.
    assert landing.database.rows("select count(*) from raw.load_chunks") == [(10 if loaded else 2,)]
    if not loaded:
        assert (
            ": more than 1,499 records are rejected: 1,500 of 2,000 rejected (1,500 malformed, 0 invalid), "
            in getattr(outcome, "message", "")
        )


def test_a_load_that_failed_at_its_limit_continues_with_a_higher_one(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.ingest.loader.CHUNKS_PER_TRANSACTION", 1)
    landing.bucket.put("jobs.csv", half_bad(4000, 1500))
    landing.fail_one(policy=policy(count=0))
    assert jobs(landing.database) == []
    assert landing.load(policy=policy()) == []
    (item,) = list_objects(landing.bucket.client, landing.bucket.name)
    with TableSession(landing.conninfo, JOBS, 0) as session:
        outcome: Any = load_object(session, landing.bucket.client, item, policy())
    assert isinstance(outcome, Loaded)
    assert (outcome.totals.records, outcome.totals.rejected) == (4000, 1500)
    assert [row[1] for row in jobs(landing.database)] == list(range(1501, 4001))


def test_rejections_before_a_load_was_resumed_count_towards_its_limit(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that crashes now and then would start with its full limit each time."""
    monkeypatch.setattr("orchestration.ingest.loader.CHUNKS_PER_TRANSACTION", 1)
    landing.bucket.put("jobs.csv", half_bad(4000, 1500))
    (item,) = list_objects(landing.bucket.client, landing.bucket.name)
    landing.fail_one(policy=policy(count=0))
    with TableSession(landing.conninfo, JOBS, 0) as session:
        outcome: Any = load_object(session, landing.bucket.client, item, policy(count=1499))
    assert outcome.status == "failed"
    assert "1,500 of 2,000 rejected" in outcome.message


HIRES = [f"{number},Ada,2021-01-01T00:00:00Z,1,1" for number in range(1, 101)]
BAD_DATES = [hire.replace("2021-01-01T00:00:00Z", "01.02.2021") for hire in HIRES]


def hires(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def test_a_file_of_wrong_dates_fails_and_names_the_first_and_the_dry_run_says_the_same(landing: Landing) -> None:
    """All rows would be loaded, however few of them could count."""
    path = landing.bucket.put("hired_employees.csv", hires(*HIRES[:10], *BAD_DATES[10:70], *HIRES[70:]))
    failed = landing.fail_one(HIRED_EMPLOYEES)
    message = (
        "more than 50% of the records are rejected: 60 of 100 rejected (0 malformed, 60 invalid), 60 of them as "
        "datetime:not_a_datetime; the first, record 11 in line 11, has datetime '01.02.2021'"
    )
    assert failed.message == f"s3://{landing.bucket.name}/hired_employees.csv: {message}"
    assert landing.database.rows("select status, records, loaded, malformed, invalid, rejected from raw.loads") == [
        ("failed", 100, 100, 0, 60, 60)
    ]
    found = dry_run(None, HIRED_EMPLOYEES, file_version(path), RejectLimit())
    assert found.failure == f"{file_version(path)}: {message}"
    assert found.totals == Totals(100, 0, 60)


def test_a_file_of_which_half_is_invalid_loads(landing: Landing) -> None:
    landing.bucket.put("hired_employees.csv", hires(*HIRES[:50], *BAD_DATES[50:]))
    assert landing.load_one(HIRED_EMPLOYEES).totals == Totals(100, 0, 50)


def test_malformed_and_invalid_records_exceed_the_limit_together(landing: Landing) -> None:
    """Either of them alone does not."""
    landing.bucket.put("hired_employees.csv", hires(*HIRES[:40], *BAD_DATES[40:70], *["1,Ada"] * 30))
    failed = landing.fail_one(HIRED_EMPLOYEES)
    assert (
        "60 of 100 rejected (30 malformed, 30 invalid), 30 of them as datetime:not_a_datetime; the first, record 41 in "
        "line 41, has datetime '01.02.2021'"
    ) in failed.message


def test_the_message_about_a_missing_value_says_that_there_is_none(landing: Landing) -> None:
    landing.bucket.put("jobs.csv", b"1,\n2,\n3,c\n")
    assert landing.fail_one().message.endswith(
        "2 of 3 rejected (0 malformed, 2 invalid), 2 of them as job:missing; the first, record 1 in line 1, has no job"
    )


def test_a_record_that_breaks_several_rules_is_one_rejected_record(landing: Landing) -> None:
    landing.bucket.put("hired_employees.csv", hires("0,,soon,0,0", *HIRES[:2]))
    assert landing.load_one(HIRED_EMPLOYEES).totals == Totals(3, 0, 1)
    assert invalid_records(landing.database) == {
        1: [
            "id:out_of_range",
            "name:missing",
            "datetime:not_a_datetime",
            "department_id:out_of_range",
            "job_id:out_of_range",
        ]
    }


def test_too_many_invalid_records_fail_an_object_immediately(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.ingest.loader.CHUNKS_PER_TRANSACTION", 1)
    landing.bucket.put("jobs.csv", b"".join(b"%d,%b\n" % (n, b"" if n <= 1500 else b"job") for n in range(1, 10_001)))
    failed = landing.fail_one(policy=policy(count=1499))
    assert (
        "more than 1,499 records are rejected: 1,500 of 2,000 rejected (0 malformed, 1,500 invalid)" in failed.message
    )
    assert landing.database.rows("select chunk, malformed, invalid, rejected from raw.load_chunks order by 1") == [
        (0, 0, 1000, 1000), (1, 0, 500, 500)
    ]  # fmt: skip


def test_invalid_records_before_a_load_was_resumed_count_towards_its_limit(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.ingest.loader.CHUNKS_PER_TRANSACTION", 1)
    text = b"".join(b"%d,%b\n" % (n, b"" if n <= 1500 else b"job") for n in range(1, 2501))
    landing.bucket.put("jobs.csv", text)
    (item,) = list_objects(landing.bucket.client, landing.bucket.name)
    landing.fail_one(policy=policy(count=0))
    assert landing.database.rows("select sum(invalid) from raw.load_chunks") == [(1000,)]
    with TableSession(landing.conninfo, JOBS, 0) as session:
        outcome: Any = load_object(session, landing.bucket.client, item, policy())
    assert outcome.status == "failed"
    assert "1,500 of 2,500 rejected (0 malformed, 1,500 invalid), 1,500 of them as job:missing" in outcome.message
    assert len(invalid_records(landing.database)) == 1500
