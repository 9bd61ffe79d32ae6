"""The headers of every response."""

import base64
import hashlib
import re

import httpx
import pytest
from fastapi import APIRouter

from api.main import create_app
from tests.api.conftest import KEY, serving, settings_for
from tests.conftest import Database

ADFILE_FORMATS = [
    ("GET", "/metrics/hires-by-quarter", 200),
    ("GET", "/metrics/hires-by-quarter?limit=0", 422),
    ("GET", "/health/live", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/docs", 200),
    ("GET", "/redoc", 200),
    ("GET", "/static-offline-docs/swagger-ui.css", 200),
    ("GET", "/nowhere", 404),
    ("POST", "/employees", 401),
]


@pytest.mark.parametrize(("method", "address", "status"), ADFILE_FORMATS)
def test_every_response_has_an_id_and_security_headers(
    client: httpx.Client, method: str, address: str, status: int
) -> None:
    # The second one comes out of memory, where there is one.
    for _ in range(2):
        answer = client.request(method, address)
        assert answer.status_code == status
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert len(answer.headers.get_list("content-security-policy")) == 1
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        scripts = re.search(r"script-src ([^;]*)", policy)
        assert scripts
        assert "unsafe" not in scripts[1]
        assert "http" not in policy
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("address", ["/docs", "/redoc"])
def test_the_documentations_own_scripts_are_the_ones_that_its_policy_lets_run(
    client: httpx.Client, address: str
) -> None:
    page = client.get(address)
    inline = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert inline or address == "/redoc"
    for script in inline:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in page.headers["content-security-policy"]
    assert not re.search(r"\son[a-z]+=", page.text)


@pytest.mark.parametrize("sent", ["01J9ZK3Q", "a.b-c_d" * 10, "4bf92f3577b34da6a3ce929d0e0e4736"])
def test_a_request_keeps_the_id_that_it_comes_with(client: httpx.Client, sent: str) -> None:
    assert client.get("/health/live", headers={"X-Request-Id": sent}).headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "short", "x" * 129, "two words", 'quote"quote', "{json: 1}", "ünicode-ünicode"])
def test_an_id_that_could_do_harm_in_a_log_is_replaced(client: httpx.Client, sent: str) -> None:
    answer = client.get("/health/live", headers=[(b"X-Request-Id", sent.encode())])
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])


def test_another_origin_gets_in_only_where_the_settings_name_it(database: Database) -> None:
    origin = "https://hr.example"
    with serving(settings_for(database, api_cors_origins=[origin])) as client:
        asks = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-api-key, if-none-match",
        }
        preflight = client.options("/employees", headers=asks)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        refused = client.post("/employees", headers={"Origin": origin})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origin)
        assert "x-request-id" in refused.headers["access-control-expose-headers"].lower()
        assert client.options("/employees", headers=asks | {"Origin": "https://evil.example"}).status_code == 400
        stranger = client.get("/health/live", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers


def test_an_unexpected_error_is_a_500_with_the_headers_of_every_response(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    router = APIRouter()

    @router.get("/broken")
    async def broken() -> None:
        raise ValueError("Ada Lovelace")

    def create_broken_app(*arguments: object) -> object:
        app = create_app(*arguments)  # type: ignore[arg-type]
        app.include_router(router)
        return app

    monkeypatch.setattr("tests.api.conftest.create_app", create_broken_app)
    with serving(settings_for(database)) as client:
        answer = client.get("/broken", headers={"X-API-Key": KEY})
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert answer.headers["x-request-id"]
        assert "content-security-policy" in answer.headers
        assert "Ada" not in answer.text
        assert client.get("/health/live").status_code == 200
    assert "a request failed" in caplog.text
