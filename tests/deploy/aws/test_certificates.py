"""The authorities that sign the database's certificate: how they get into the images, where the tasks look for them."""

import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from api.database import conninfo as api_conninfo
from api.settings import Settings as ApiSettings
from deploy.aws.check.tasks import BUNDLE
from orchestration.database import connect
from orchestration.instance.database import InstanceSettings

PROJECT = Path(__file__).parents[3]
FOLDER = PROJECT / "deploy" / "docker" / "certificates"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def fetch(folder: Path, curl: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script with a stand-in for curl, next to a folder of certificates."""
    for name in ("aws", "docker/certificates", "bin"):
        (folder / name).mkdir(parents=True)
    script = folder / "aws" / "fetch-certificates"
    shutil.copy(PROJECT / "deploy" / "aws" / "fetch-certificates", script)
    (folder / "bin" / "curl").write_text(f"#!/bin/sh\n{curl}\n")
    (folder / "bin" / "curl").chmod(0o755)
    environment = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run([script], env=environment, capture_output=True, text=True, check=False)


def test_they_are_fetched_to_where_the_images_and_the_tasks_expect_them(tmp_path: Path) -> None:
    fetched = fetch(tmp_path, f"printf '%s' '{CERTIFICATE}'")

    assert fetched.returncode == 0, fetched.stderr
    (file,) = (tmp_path / "docker" / "certificates").iterdir()
    assert file.read_text() == CERTIFICATE
    dockerfile = (PROJECT / "deploy" / "docker" / "Dockerfile").read_text()
    (base,) = re.findall(r"^FROM \S+ AS base$(.*?)^FROM", dockerfile, re.MULTILINE | re.DOTALL)
    assert "WORKDIR /app\n" in base
    assert "COPY deploy/docker/certificates certificates\n" in base
    for image in ("api", "orchestration"):
        assert f"FROM base AS {image}\n" in dockerfile
    assert f"/app/certificates/{file.name}" == BUNDLE


def test_what_is_no_certificate_is_refused_and_not_kept(tmp_path: Path) -> None:
    for name, curl in (("page", "echo '<html>Log in</html>'"), ("failure", "exit 22")):
        assert fetch(tmp_path / name, curl).returncode != 0
        assert list((tmp_path / name / "docker" / "certificates").iterdir()) == []


def test_a_build_gets_the_folder_even_if_it_is_empty_and_no_certificate_is_committed() -> None:
    """COPY fails if the folder is missing, and a bundle in the repository would be out of date some day."""
    assert "!deploy/docker/certificates\n" in (PROJECT / ".dockerignore").read_text()
    assert (FOLDER / ".gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]


def test_a_release_fetches_them_before_it_builds() -> None:
    workflow = (PROJECT / ".github" / "workflows" / "release.yml").read_text()

    assert 0 < workflow.index("run: deploy/aws/fetch-certificates") < workflow.index("uses: ./.github/actions/image")


class TlsServer:
    """A server that begins TLS as Postgres does, with a certificate of its own, and says no more than that."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certificate, key = folder / "server.pem", folder / "server.key"
        write_certificate(self.certificate, key, name)
        self.accepted = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            # A client that refuses the certificate breaks off.
            with connection, suppress(OSError):
                assert connection.recv(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # SSLRequest
                connection.sendall(b"S")
                with self._context.wrap_socket(connection, server_side=True) as encrypted:
                    # The startup message, with the name of the role: what a client sends only to a server it trusts.
                    self.accepted += b"user\x00" in encrypted.recv(1024)


def write_certificate(file: Path, key_file: Path, name: str) -> None:
    """Write a certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def connect_as_the_loader() -> None:
    connect("user=hiring_loader")


def connect_as_the_api() -> None:
    psycopg.connect(api_conninfo(ApiSettings()))


def connect_as_dagster() -> None:
    create_engine(InstanceSettings.read().url).connect()


@pytest.mark.parametrize("client", [connect_as_the_loader, connect_as_the_api, connect_as_dagster])
@pytest.mark.parametrize(
    ("name", "is_trusted", "message"),
    [
        ("localhost", True, None),
        ("localhost", False, "certificate verify failed"),
        ("elsewhere.example.com", True, "does not match host name"),
    ],
    ids=["the right one", "of an unknown authority", "of another server"],
)
def test_every_client_verifies_the_certificate(
    client: Callable[[], None],
    name: str,
    is_trusted: bool,
    message: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are given libpq's variables only, some in Python, some in a URL: none may leave these two out."""
    server = TlsServer(tmp_path, name)
    other = tmp_path / "other.pem"
    write_certificate(other, tmp_path / "other.key", name)
    for variable, value in {
        "PGHOST": "localhost",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGDATABASE": "hiring",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(server.certificate if is_trusted else other),
        "PGGSSENCMODE": "disable",
        "HIRING_API_PASSWORD": "password",
        "API_KEY": "a-key-of-sixteen-characters",
        "DAGSTER_PG_URL": f"postgresql://dagster:password@localhost:{server.port}/dagster",
    }.items():
        monkeypatch.setenv(variable, value)

    # The server ends every connection, also one that is fine with its certificate.
    with pytest.raises((psycopg.OperationalError, DBAPIError), match=message):
        client()
    assert bool(server.accepted) == (message is None)
