"""Only the holder of the key writes, and nobody learns anything else without it."""

import httpx
import pytest
from pydantic import SecretStr

from tests.api.conftest import KEY, serving, settings_for
from tests.conftest import Database

HIRE = b'[{"id": 1, "name": "Ada", "datetime": "2021-01-01", "department_id": 1, "job_id": 1}]'


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"X-API-Key": KEY.upper()},
        {"X-API-Key": "schlüssel-schlüssel"},
        {"X-API-Key": b"\xff\xfe\x80"},
        {"Authorization": f"Bearer {KEY}"},
    ],
)
@pytest.mark.parametrize("body", [HIRE, b"[{}]", b"{not json", b"", b"\xff"])
def test_without_the_key_the_answer_is_401_whatever_the_body(
    client: httpx.Client, module_database: Database, headers: dict[str, str | bytes], body: bytes
) -> None:
    sent = [(name.encode(), v if isinstance(v, bytes) else v.encode()) for name, v in headers.items()]
    answer = client.post("/employees", content=body, headers=sent)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"type", "title", "status", "detail"}
    assert module_database.rows("select count(*) from raw.loads") == [(0,)]


def test_a_key_outside_ascii_is_accepted_as_the_bytes_it_is(database: Database) -> None:
    key = "schlüssel-schlüssel"
    with serving(settings_for(database, api_key=SecretStr(key))) as client:
        answer = client.post("/employees", content=HIRE, headers=[(b"X-API-Key", key.encode())])
    assert answer.status_code == 201
