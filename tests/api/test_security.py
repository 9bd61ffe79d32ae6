"""A key allows only what it is for, and without a key nothing is disclosed."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.keys import ApiKey, digest
from tests.api.conftest import KEY, build_marts, serving, settings_for
from tests.conftest import Database

JSON = (b"Content-Type", b"application/json")
HIRE = b'[{"id": 1, "name": "Ada", "datetime": "2021-01-01", "department_id": 1, "job_id": 1}]'
READS = ["/metrics/hires-by-quarter", "/metrics/departments-above-mean"]


def key(name: str, *scopes: str, value: str | None = None) -> dict[str, Any]:
    return {"name": name, "sha256": digest((value or name).encode()), "scopes": scopes}


def post(client: httpx.Client, value: str) -> int:
    return client.post("/employees", content=HIRE, headers=[(b"X-API-Key", value.encode()), JSON]).status_code


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
        {"X-API-Key": digest(KEY.encode())},
        {"Authorization": f"Bearer {KEY}"},
    ],
)
@pytest.mark.parametrize("body", [HIRE, b"[{}]", b"{not json", b"", b"\xff"])
def test_without_the_key_the_response_is_401_for_any_body(
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
    with serving(settings_for(database, api_key=SecretStr("schlüssel-schlüssel"))) as client:
        assert post(client, "schlüssel-schlüssel") == 201


def test_a_key_is_good_for_its_scopes_only_and_reads_are_closed_unless_opened(database: Database) -> None:
    build_marts(database)
    keys = [ApiKey(**each) for each in (key("reader", "read"), key("writer", "write"))]
    with serving(settings_for(database, api_open_reads=False, api_keys=keys)) as client:
        for address in READS:
            statuses = {
                value: client.get(address, headers={"X-API-Key": value}).status_code
                for value in ("reader", "writer", KEY, "nobody")
            }
            assert statuses == {"reader": 200, "writer": 403, KEY: 200, "nobody": 401}
            # Cached responses require a key like others.
            assert client.get(address).status_code == 401
        assert [post(client, value) for value in ("reader", "writer", KEY)] == [403, 201, 201]
        document = client.get("/openapi.json").json()
        assert all(document["paths"][address]["get"]["security"] == [{"ApiKey": []}] for address in READS)


def test_an_unknown_url_requires_a_key_too(database: Database) -> None:
    with serving(settings_for(database, api_open_reads=False)) as client:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            for address in ("/", "/new", "/static-offline-docs", "/health/", "//metrics/hires-by-quarter"):
                assert client.request(method, address).status_code == 401


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([key("payroll", "write", value="old")]))
    return path


def replace(path: Path, content: str) -> None:
    """Replace a file like a rotation: write a new one next to it, then rename that."""
    draft = path.with_suffix(".new")
    draft.write_text(content)
    os.replace(draft, path)  # noqa: PTH105


def test_keys_are_rotated_without_a_restart(database: Database, keys_file: Path) -> None:
    old, new = (key("payroll", "write", value=value) for value in ("old", "new"))
    with serving(settings_for(database, api_key=None, api_keys_file=keys_file)) as client:
        assert [post(client, value) for value in ("old", "new")] == [201, 401]
        replace(keys_file, json.dumps([old, new]))
        assert [post(client, value) for value in ("old", "new")] == [201, 201]
        replace(keys_file, json.dumps([new]))
        assert [post(client, value) for value in ("old", "new")] == [401, 201]


@pytest.mark.parametrize("content", ["", "[{", '[{"name": "x"}]', None])
def test_a_key_file_that_becomes_invalid_locks_nobody_out(
    database: Database, keys_file: Path, content: str | None
) -> None:
    with serving(settings_for(database, api_key=None, api_keys_file=keys_file)) as client:
        assert post(client, "old") == 201
        if content is None:
            keys_file.unlink()
        else:
            replace(keys_file, content)
        assert post(client, "old") == 201
        replace(keys_file, json.dumps([key("payroll", "write", value="new")]))
        assert [post(client, value) for value in ("old", "new")] == [401, 201]
