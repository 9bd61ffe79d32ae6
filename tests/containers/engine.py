"""The container engine: which one there is, and the compose file's services started, stopped and killed with it."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]
# Of its own: a check must not touch what somebody runs from the same folder.
NAME = "hiring-check"


class NoEngine(RuntimeError):
    """No container engine was found; the message says which ones were tried."""


class Failed(RuntimeError):
    """A command of the engine's failed; the message is the end of what it said."""


def compose_command() -> list[str]:
    """Return the words that run compose: those in COMPOSE, else Docker's when its engine answers.

    Raises:
        NoEngine: neither is there.
    """
    if given := os.environ.get("COMPOSE"):
        return shlex.split(given)
    if not shutil.which("docker"):
        raise NoEngine("there is no `docker` here")
    engine = subprocess.run(["docker", "compose", "ls"], check=False, capture_output=True, text=True)
    if engine.returncode:
        raise NoEngine(f"`docker compose ls` says: {' '.join(engine.stderr.split())[:200]}")
    return ["docker", "compose"]


class Compose:
    """docker-compose.yml under a name of its own. `variables` stand in for .env; `log` gets what commands say."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        self._command = [*command, "--project-name", NAME]
        self._environment = os.environ | variables
        self._log = log

    def __call__(self, *arguments: str, given: bytes | None = None) -> bytes:
        """Run a command of compose's and return what it prints.

        Args:
            arguments: the command and its arguments.
            given: its standard input; None is an empty one.

        Raises:
            Failed: its exit status is not 0.
        """
        with self._log.open("ab") as log:
            log.write(f"$ compose {shlex.join(arguments)}\n".encode())
            log.flush()
            done = subprocess.run(
                [*self._command, *arguments],
                cwd=PROJECT, env=self._environment, input=given or b"", capture_output=True, check=False,
            )  # fmt: skip
            log.write(done.stderr + (b"" if len(done.stdout) > 1 << 16 else done.stdout))
        if done.returncode:
            last = b"\n".join((done.stderr + done.stdout).splitlines()[-15:]).decode(errors="replace")
            raise Failed(f"compose {shlex.join(arguments)} ended with status {done.returncode}:\n{last}")
        return done.stdout

    def python(self, service: str, program: str) -> str:
        """Run a Python program in a service's container and return what it prints, without its line's end."""
        return self("exec", "-T", service, "python", "-c", program).decode().strip()

    def sql(self, query: str) -> str:
        """Return what psql prints for a query in the database of the hires, unaligned and without headings."""
        words = ("psql", "--username", "postgres", "--dbname", "hiring", "--no-psqlrc", "-qAtc", query)
        return self("exec", "-T", "postgres", *words).decode().strip()
