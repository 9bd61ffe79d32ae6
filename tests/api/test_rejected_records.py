"""With on_error=continue, a bad record does not affect good ones, and is itself stored unchanged."""

import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.conftest import KEY
from tests.api.test_employees import IDENTIFIER, any_text, as_delivered, hire, json_values, stored
from tests.conftest import Database

MOMENT = "must be an ISO 8601 date, or date and time, like 2021-07-27T16:02:08Z, in the years 1900 to 2100 (UTC)"


def send(client: httpx.Client, body: bytes) -> httpx.Response:
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    return client.post("/employees?on_error=continue", content=body, headers=headers)


def kept(database: Database, load_id: int) -> list[dict[str, Any]]:
    return database.dicts("select * from raw.rejected_records where load_id = %s order by record", load_id)


def test_good_records_are_stored_and_bad_ones_listed_and_kept_with_their_place(
    client: httpx.Client, module_database: Database
) -> None:
    bad = '{ "id": 2, "name": "Zoë Ångström", "datetime": "soon",\n  "department_id": 0, "job_id": 1, "pay": 3 }'
    body = f' [\n {json.dumps(hire(id=1))} ,\n {bad}\n,"é",{json.dumps(hire(id=3))}]\n'.encode()

    answer = send(client, body)

    assert answer.status_code == 201
    told = answer.json()
    assert told["accepted"] == 2
    assert told["rejected"] == [
        {
            "record": 2,
            "errors": [
                {
                    "pointer": "/1/datetime",
                    "detail": MOMENT,
                },
                {"pointer": "/1/department_id", "detail": IDENTIFIER},
                {"pointer": "/1/pay", "detail": "is not a known field"},
            ],
        },
        {"record": 3, "errors": [{"pointer": "/2", "detail": "must be an object"}]},
    ]
    assert [row[:2] for row in stored(module_database, told["load_id"])] == [(1, "1"), (4, "3")]
    second, third = kept(module_database, told["load_id"])
    assert bytes(second["raw"]).decode() == bad
    assert (second["reason"], second["record"], second["line"]) == ("invalid_fields", 2, 3)
    assert second["message"] == (f"datetime {MOMENT}; department_id {IDENTIFIER}; another field is not a known field")
    assert third["message"] == "the record must be an object"
    for row in (second, third):
        assert body[row["byte_from"] :].startswith(bytes(row["raw"]))
        assert row["raw_bytes"] == len(row["raw"])
    load = module_database.rows("select records, loaded, rejected from raw.loads where load_id = %s", told["load_id"])
    assert load == [(4, 2, 2)]
    assert module_database.rows("select * from raw.discrepancies") == []


def test_what_can_be_read_of_a_rejected_record_is_kept_by_field(
    client: httpx.Client, module_database: Database
) -> None:
    """People who correct it search for an id and a name, not for bytes; duplicate keys are ambiguous."""
    records = [
        r'{"id": 0, "name": " Zoë\u0000\ud800 ", "datetime": null, "job_id": 8.50, "pay": [1, {"a": 2.50}],'
        r' "a\u0000b": true}',
        '{"id": 7, "name": "Ada", "name": "Bob"}',
        '{"id": "%s"}' % ("x" * 70_000),
        "{}",
        "[1]",
        "null",
    ]
    load_id = send(client, f"[{','.join(records)}]".encode()).json()["load_id"]
    assert [row["delivered"] for row in kept(module_database, load_id)] == [
        {
            "id": "0", "name": " Zoë\ufffd\ufffd ", "datetime": None, "job_id": "8.50",
            "pay": '[1, {"a": "2.50"}]', "a\ufffdb": "true",
        },
        {"id": "7"},
        {"id": "x" * 65_536},
        {},
        None,
        None,
    ]  # fmt: skip


def test_however_deep_a_record_is_it_is_kept_or_refused(client: httpx.Client) -> None:
    depths = [100, *range(900, 1010), 3000]
    answers = {send(client, b'[{"id": %b1%b}]' % (b"[" * depth, b"]" * depth)).status_code for depth in depths}
    assert answers == {201, 422}


def test_a_batch_of_bad_records_only_is_a_load_too(client: httpx.Client, module_database: Database) -> None:
    told = send(client, b"[1, 2]").json()
    assert (told["accepted"], [each["record"] for each in told["rejected"]]) == (0, [1, 2])
    assert len(kept(module_database, told["load_id"])) == 2


def test_an_invalid_batch_is_refused_nevertheless(client: httpx.Client) -> None:
    for body in (b"[]", b"{}", b"nope", b"[1,]", b'[{"id": 1}' + b", 2" * 1000 + b"]"):
        assert send(client, body).status_code == 422


def test_of_a_long_record_the_beginning_is_kept_and_its_size(client: httpx.Client, module_database: Database) -> None:
    long = json.dumps(hire(name="x" * 70_000, id=0)).encode()
    (row,) = kept(module_database, send(client, b"[" + long + b"]").json()["load_id"])
    assert (bytes(row["raw"]), row["raw_bytes"]) == (long[:65_536], len(long))


def test_ids_that_several_records_share_are_named(client: httpx.Client) -> None:
    batch = [hire(id=7), hire(id=8), hire(id=7), hire(id=9, job_id=0), hire(id=9), hire(id=7)]
    told = send(client, json.dumps(batch).encode()).json()
    assert told["accepted"] == 5
    assert told["repeated_ids"] == [{"id": 7, "records": [1, 3, 6]}]


@settings(max_examples=50, deadline=None)
@given(
    bad=st.lists(json_values | st.dictionaries(any_text, json_values, min_size=1), min_size=1, max_size=4),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_the_bytes_of_any_rejected_record_are_kept_and_its_neighbours_stored(
    client: httpx.Client, module_database: Database, bad: list[Any], indent: int | None, ascii_only: bool
) -> None:
    good = [hire(id=n, name="Zoë") for n in range(1, len(bad) + 1)]
    batch = [record for pair in zip(bad, good, strict=True) for record in pair]
    try:
        body = json.dumps(batch, indent=indent, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        body = json.dumps(batch, indent=indent).encode()
    told = send(client, body).json()
    assert (told["accepted"], len(told["rejected"])) == (len(good), len(bad))
    rows = stored(module_database, told["load_id"])
    assert [row[0] for row in rows] == [2 * n for n in range(1, len(good) + 1)]
    assert [row[1:] for row in rows] == [row[1:] for row in as_delivered(good)]
    for row, record in zip(kept(module_database, told["load_id"]), bad, strict=True):
        assert json.dumps(json.loads(bytes(row["raw"]))) == json.dumps(record)
        assert (row["delivered"] is None) == (not isinstance(record, dict))
        assert body[row["byte_from"] :].startswith(bytes(row["raw"]))
        assert row["line"] == body[: row["byte_from"]].count(b"\n") + 1
