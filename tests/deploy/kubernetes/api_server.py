"""A Kubernetes API server on loopback that knows Jobs, and fails as it is asked to."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

# Instead of a status: the Job is made, and the connection ends before that is said.
CUT = 0


@dataclass
class Cluster:
    """What the server knows: Jobs by name, and what becomes of the next requests that make one."""

    url: str
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[int] = field(default_factory=list)
    attempts: int = 0


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Serve an empty cluster for the length of a block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {}))
    cluster = Cluster(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass.cluster = cluster  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    cluster: ClassVar[Cluster]

    def do_POST(self) -> None:
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = job["metadata"]["name"]
        self.cluster.attempts += 1
        fault = self.cluster.faults.pop(0) if self.cluster.faults else None
        if fault:
            self._answer(fault, {"kind": "Status", "status": "Failure", "code": fault})
        elif name in self.cluster.jobs:
            self._answer(409, {"kind": "Status", "reason": "AlreadyExists", "code": 409})
        else:
            self.cluster.jobs[name] = job | {"status": {"active": 1}}
            if fault == CUT:
                self.close_connection = True
            else:
                self._answer(201, job)

    def do_GET(self) -> None:
        name = self.path.removesuffix("/status").rpartition("/jobs/")[2]
        if "/pods?" in self.path:
            self._answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": []})
        elif name in self.cluster.jobs:
            self._answer(200, self.cluster.jobs[name])
        else:
            self._answer(404, {"kind": "Status", "code": 404})

    def do_DELETE(self) -> None:
        del self.cluster.jobs[self.path.rpartition("/jobs/")[2]]
        self._answer(200, {"kind": "Status", "status": "Success"})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass
