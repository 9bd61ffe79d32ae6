"""Every error is a problem document without internal details; the API describes itself."""

import json
import re
from pathlib import Path

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from api.main import create_app
from api.metrics.registry import METRICS
from api.protocol.problems import SCHEMA
from tests.api.conftest import KEY, settings_without_database
from tests.conftest import Database

OPERATIONS = {metric.operation_id for metric in METRICS} | {
    "completeness",
    "add_employees",
    "find_load",
    "live",
    "ready",
    "started",
}


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/absent", 404),
        ("GET", "/metrics", 404),
        ("GET", "/health/live/", 404),
        ("GET", "/static-offline-docs/absent.js", 404),
        ("POST", "/metrics/hires-by-quarter", 405),
        ("GET", "/employees", 405),
        ("GET", "/metrics/hires-by-quarter?limit=0", 422),
        ("GET", "/loads/1000000", 404),
        ("GET", "/loads/latest", 422),
        ("POST", "/employees", 401),
    ],
)
def test_every_error_is_a_problem_document(client: httpx.Client, method: str, address: str, status: int) -> None:
    keyed = {"X-API-Key": KEY} if status != 401 else {}
    answer = client.request(method, address, headers=keyed)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(SCHEMA["required"]) <= set(problem) <= set(SCHEMA["properties"])
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert ("allow" in answer.headers) == (status == 405)


def test_head_works_wherever_get_does_and_a_405_says_so(client: httpx.Client) -> None:
    addresses = {
        route.path
        for route in iter_route_contexts(create_app(settings_without_database(Path())).routes)
        if route.path and "GET" in (route.methods or ())
    }
    assert {"/", "/health/live", "/health/ready", "/openapi.json", "/docs", "/redoc"} < addresses
    for address in [*addresses, "/dashboard/dashboard.css", "/static-offline-docs/swagger-ui.css"]:
        head, get = client.head(address), client.get(address)
        assert (address, head.status_code, head.content) == (address, get.status_code, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        wrong = client.post(address, headers={"X-API-Key": KEY})
        assert (address, wrong.status_code, wrong.headers["allow"]) == (address, 405, "GET, HEAD")
    assert client.get("/employees").headers["allow"] == "POST"


def test_an_unforeseen_error_of_the_database_leaks_nothing(
    client: httpx.Client, module_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    module_database.execute("alter table raw.hired_employees add constraint odd check (name <> 'Ada Lovelace')")
    employee = {"id": 1, "name": "Ada Lovelace", "datetime": "2021-01-01", "department_id": 1, "job_id": 1}
    answer = client.post("/employees", json=[employee], headers={"X-API-Key": KEY})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    for told in (answer.text, caplog.text):
        assert "Ada" not in told
    assert "raw" not in answer.text
    assert "CheckViolation" in caplog.text
    assert module_database.rows("select count(*) from raw.loads") == [(0,)]


def test_operations_have_ids_that_do_not_change_and_are_documented(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert {operation["operationId"] for operation in operations} == OPERATIONS
    assert {"hires_by_quarter", "departments_above_mean"} < OPERATIONS
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        problems = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert all(list(problem["content"]) == ["application/problem+json"] for problem in problems.values())
    write = document["paths"]["/employees"]["post"]
    assert write["security"] == [{"ApiKey": []}]
    assert set(write["responses"]) == {
        "201", "401", "403", "408", "409", "413", "415", "422", "429", "500", "503",
    }  # fmt: skip
    assert set(document["components"]["schemas"]["Employee"]["properties"]) == {
        "id",
        "name",
        "datetime",
        "department_id",
        "job_id",
    }
    read = document["paths"]["/metrics/hires-by-quarter"]["get"]
    assert {parameter["name"] for parameter in read["parameters"]} == {
        "year", "department", "job", "limit", "offset", "format", "bom",
    }  # fmt: skip


def test_every_reference_in_the_openapi_document_leads_somewhere(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        place = document
        for part in reference.split("/"):
            place = place[part]


@pytest.mark.parametrize("address", ["/docs", "/redoc"])
def test_the_documentation_needs_no_other_server(client: httpx.Client, address: str) -> None:
    page = client.get(address)
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)\s*=\s*"([^"]+)"', page.text)
    assert loaded
    for source in loaded:
        assert not re.match(r"(https?:)?//", source)
        assert client.get(source).status_code == 200
