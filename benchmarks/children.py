"""Measurements in separate processes: a single load, the tools that the project is compared with, HTTP requests."""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.hires import Hires
from benchmarks.servers import Servers
from deploy.local.settings import PROJECT, Settings, environment

COMPARED = Path(__file__).with_name("compared")
LOCK = Path(__file__).with_name("compared.lock")
UV = Path(sys.executable).with_name("uv")


def peak_of_a_load(servers: Servers, source: Hires) -> float:
    """Return the peak memory in MB of a process that loads a bucket."""
    variables = servers.s3_environment() | {"PGUSER": "hiring_loader", "PGPASSWORD": "hiring_loader"}
    return _number((sys.executable, "-m", "benchmarks.lone_load", source.bucket), servers, variables, PROJECT)


def load_with_dlt(servers: Servers, manner: str, first: Hires, source: Hires) -> float:
    """Return the seconds that dlt's pipeline takes for a bucket, without Python's start and imports.

    Args:
        servers: the servers.
        manner: default or tuned, see compared/dlt_load.py.
        first: loaded before the measurement, because dlt imports many modules during its first load.
        source: the bucket that is measured.
    """
    home = servers.scratch / "dlt"
    home.mkdir(exist_ok=True)
    variables = {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        # Keeps the user's dlt settings and keys out of it, and dlt's files out of the user's home.
        "DLT_DATA_DIR": str(home),
        # dlt's settings for S3 have the names of boto3's variables after a prefix.
        **{f"SOURCES__FILESYSTEM__CREDENTIALS__{name}": value for name, value in servers.s3_environment().items()},
        "SOURCES__FILESYSTEM__CREDENTIALS__ENDPOINT_URL": servers.s3.meta.endpoint_url,
        "SOURCES__FILESYSTEM__CREDENTIALS__REGION_NAME": servers.s3.meta.region_name,
        "DESTINATION__POSTGRES__CREDENTIALS": servers.url(),
    }
    python = environment_of_compared(Settings().state_dir / "bench-env")
    command = (str(python), str(COMPARED / "dlt_load.py"), manner, first.bucket, source.bucket)
    return _number(command, servers, variables, home)


def requests_a_second(servers: Servers, port: int, path: str, length: int, seconds: float) -> float:
    """Return how many requests per second an HTTP server answers, see driver.py.

    Args:
        servers: the servers.
        port: of the HTTP server.
        path: to request.
        length: the expected size of the body in bytes.
        seconds: how long to measure.
    """
    command = (sys.executable, "-m", "benchmarks.driver", str(port), path, str(length), str(seconds))
    return _number(command, servers, {}, PROJECT)


def environment_of_compared(folder: Path) -> Path:
    """Install the packages of compared.lock into a folder if that file has changed; return the folder's Python."""
    stamp, python = folder / ".installed", folder / "bin" / "python"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        _uv("venv", "--clear", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--require-hashes", "--python", str(python), "--requirements", str(LOCK))
        stamp.write_text(digest)
    return python


def _uv(*arguments: str) -> None:
    subprocess.run([str(UV), "--quiet", *arguments], check=True)  # noqa: S603


def _number(command: tuple[str, ...], servers: Servers, variables: dict[str, str], folder: Path) -> float:
    """Return the number in the last line of a program's output."""
    done = subprocess.run(  # noqa: S603
        command,
        env=environment(servers.postgres.host) | variables,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])
