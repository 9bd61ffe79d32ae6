"""Behind a proxy that serves the API under a prefix and strips it, every URL in the API's responses is correct."""

import html
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest

from tests.api.conftest import KEY, publish
from tests.api.test_employees import hire
from tests.conftest import Database

PREFIX = "/people/hiring"


@pytest.fixture(scope="module")
def proxy(client: httpx.Client, module_database: Database) -> Iterator[str]:
    """The API's address as those outside know it, with some hires."""
    publish(
        module_database,
        "insert into marts.hires_by_quarter (year, department_id, department, job_id, job, q1, q2, q3, q4)"
        " select 2021 - n / 301, n, 'd' || n, n, 'j' || n, 1, 0, 0, 0 from generate_series(1, 301) as n",
    )

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on(b"")

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

        def _pass_on(self, body: bytes) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            headers = {name: self.headers[name] for name in ("X-API-Key", "Content-Type") if name in self.headers}
            answer = client.request(self.command, self.path.removeprefix(PREFIX), content=body, headers=headers)
            self.send_response(answer.status_code)
            for name in ("content-type", "link", "location"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}{PREFIX}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("page", ["", "?year=2021&offset=100&limit=100", "docs", "redoc", "?year=x"])
def test_links_on_a_page_are_under_the_prefix(proxy: str, page: str) -> None:
    answer = httpx.get(urljoin(proxy, page))
    given = re.findall(r"""(?:href|src|action|spec-url)=["']([^"']+)["']|url: '([^']+)'""", answer.text)
    addresses = {urljoin(proxy + page, html.unescape(one or other)) for one, other in given}
    assert addresses
    assert [address for address in addresses if not address.startswith(proxy)] == []
    # One of each kind: a page has a link for each department.
    kinds = {(urlsplit(address).path, *sorted(parse_qs(urlsplit(address).query))): address for address in addresses}
    for address in kinds.values():
        assert httpx.get(address).status_code == 200, address


@pytest.mark.parametrize(("start", "total"), [("metrics/hires-by-quarter?limit=100", 300), ("years?limit=1", 2)])
def test_links_from_page_to_page_stay_under_the_prefix(proxy: str, start: str, total: int) -> None:
    address, rows = urljoin(proxy, start), 0
    while address:
        answer = httpx.get(address)
        rows += len(answer.json()["items"])
        following = answer.links.get("next", {}).get("url")
        address = following and urljoin(address, following)
        assert not following or address.startswith(proxy)
    assert rows == total


def test_a_batch_is_found_under_the_prefix(proxy: str) -> None:
    address = urljoin(proxy, "employees")
    answer = httpx.post(address, json=[hire()], headers={"X-API-Key": KEY})
    found = httpx.get(urljoin(address, answer.headers["location"]))
    assert (found.status_code, found.json()["load_id"]) == (200, answer.json()["load_id"])


def test_the_openapi_document_says_where_the_api_is(proxy: str) -> None:
    load_id = httpx.post(urljoin(proxy, "employees"), json=[hire()], headers={"X-API-Key": KEY}).json()["load_id"]
    address = urljoin(proxy, "openapi.json")
    document = httpx.get(address).json()
    (server,) = document["servers"]
    base = urljoin(address, server["url"]).rstrip("/")
    for path, operations in document["paths"].items():
        if "get" in operations and path != "/health/ready":
            assert httpx.get(base + path.format(load_id=load_id)).status_code == 200
