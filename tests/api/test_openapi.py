"""The OpenAPI document is correct: requests and responses conform to it, and a generated client works."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.api.conftest import KEY, build_marts, serving, settings_for
from tests.api.test_problems import OPERATIONS
from tests.conftest import Database


@pytest.fixture(scope="module")
def guarded_client(module_database: Database) -> Iterator[httpx.Client]:
    """A running API in which everything requires a key, so that the document has every possible response."""
    build_marts(module_database)
    with serving(settings_for(module_database, api_open_reads=False)) as client:
        yield client


@pytest.fixture(scope="module")
def schema(guarded_client: httpx.Client) -> Any:
    return schemathesis.openapi.from_url(f"{guarded_client.base_url}/openapi.json")


def is_beyond_any_schema(error: dict[str, str]) -> bool:
    """No pattern knows the calendar, nor which keys have been used, nor that several years are for one format."""
    return (
        error.get("pointer", "").endswith("/datetime")
        or error["detail"] == "belongs to another request"
        or error["detail"].startswith("is one year for JSON")
    )


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_every_request_gets_a_response_that_conforms_to_the_document(schema: Any, operation: str) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=schema.find_operation_by_id(operation).as_strategy())
    def call(case: schemathesis.Case) -> None:
        response = case.call(headers={"X-API-Key": KEY})
        wrong = response.json().get("errors", []) if response.status_code == 422 else []
        is_beyond = wrong and all(map(is_beyond_any_schema, wrong))
        case.validate_response(response, excluded_checks=[positive_data_acceptance] if is_beyond else [])

    call()


def test_a_generated_client_sends_hires_in_and_reads_the_metrics(
    guarded_client: httpx.Client, module_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "openapi.json"
    document.write_text(guarded_client.get("/openapi.json").text)
    config = Config.from_sources(
        ConfigFile(post_hooks=[], package_name_override="hiring_client"),
        MetaType.NONE,
        document_source=document,
        file_encoding="utf-8",
        overwrite=True,
        output_path=tmp_path / "hiring_client",
    )
    assert generate(config=config) == []
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        client = importlib.import_module("hiring_client").AuthenticatedClient(
            str(guarded_client.base_url), KEY, prefix="", auth_header_name="X-API-Key"
        )
        models = importlib.import_module("hiring_client.models")
        add = importlib.import_module("hiring_client.api.employees.add_employees")
        read = importlib.import_module("hiring_client.api.metrics.hires_by_quarter")

        hire = models.Employee(id=1, name="Ada", datetime_="2021-01-01", department_id=1, job_id=1)
        stored = add.sync(client=client, body=[hire], idempotency_key="generated")
        assert (stored.accepted, stored.rejected) == (1, [])
        refused = add.sync(client=client, body=[models.Employee(0, "Ada", "2021-01-01", 1, 1)])
        assert isinstance(refused, models.Problem)
        assert refused.errors[0].pointer == "/0/id"
        page = read.sync(client=client, year=2021)
        assert (page.year, page.items, page.total) == (2021, [], 0)
    finally:
        for name in [name for name in sys.modules if name.startswith("hiring_client")]:
            del sys.modules[name]
    assert module_database.rows("select name from raw.hired_employees where id = '1' and name = 'Ada'")


def test_every_operation_documents_what_may_go_wrong_and_shows_examples(guarded_client: httpx.Client) -> None:
    document = guarded_client.get("/openapi.json").json()
    for address, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["tags"]
            problems = {status for status in operation["responses"] if status >= "400"}
            assert "500" in problems
            if address != "/health/live":
                assert "503" in problems
            if not address.startswith("/health"):
                assert {"401", "403", "422", "429"} <= problems
            for status in problems:
                content = operation["responses"][status]["content"]["application/problem+json"]
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
                assert content["example"]["status"] == int(status)
    example = document["paths"]["/employees"]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = guarded_client.post("/employees", content=json.dumps(example), headers={
        "X-API-Key": KEY, "Content-Type": "application/json",
    })  # fmt: skip
    assert answer.status_code == 201
