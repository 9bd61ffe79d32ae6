"""The HTTP servers that are measured, each a single process: context managers that yield the port."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.servers import Servers, free_port
from deploy.local import services
from deploy.local.services import Service
from deploy.local.settings import Settings
from deploy.local.supervisor import Supervisor

API_KEY = "a-key-of-the-figures"
ORM = Path(__file__).with_name("compared") / "orm_api.py"


@contextmanager
def running_api(servers: Servers) -> Iterator[int]:
    """Run the API like `make up`."""
    with _running(servers, _api(servers)) as port:
        yield port


@contextmanager
def running_api_and_constant(servers: Servers, content: bytes) -> Iterator[int]:
    """Run the API with an additional route that returns some bytes, see api_and_constant.py."""
    file = servers.scratch / "constant.json"
    file.write_bytes(content)
    command = (sys.executable, "-m", "benchmarks.api_and_constant", str(file))
    with _running(servers, replace(_api(servers), command=command)) as port:
        yield port


@contextmanager
def running_orm_api(servers: Servers) -> Iterator[int]:
    """Run the first metric with SQLAlchemy, on tables that it creates in schema plain, see compared/orm_api.py."""
    service = _api(servers)
    variables = {
        "DATABASE_URL": servers.url().replace("postgresql", "postgresql+psycopg", 1),
        "PORT": str(service.port),
    }
    command = (sys.executable, str(ORM))
    environment = {**service.environment, **variables}
    with _running(servers, replace(service, name="orm-api", command=command, environment=environment)) as port:
        yield port


def _api(servers: Servers) -> Service:
    settings = Settings(state_dir=servers.scratch / "api", api_port=free_port(), landing=None)
    service = services.api(settings, servers.postgres.host)
    own = {"HIRING_API_PASSWORD": "hiring_api", "API_KEY": API_KEY}
    return replace(service, environment={**service.environment, **own})


@contextmanager
def _running(servers: Servers, service: Service) -> Iterator[int]:
    assert service.port is not None
    # One folder for each, because a supervisor stops all processes of its folder.
    state = servers.scratch / service.name
    supervisor = Supervisor(state, state / "logs")
    try:
        supervisor.start(service)
        yield service.port
    finally:
        supervisor.stop()
