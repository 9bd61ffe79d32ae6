"""Runs the pods of the migration, the API and the code server with podman, on a Postgres of their own.

`podman kube play` takes Pods and ConfigMaps: a Job's or a Deployment's pod is played as a Pod, and Secrets as
ConfigMaps of the same names. It knows no Services and no network policies, and the probes are run from here.
"""

import hashlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.kubernetes.check.chart import Document
from deploy.kubernetes.check.manifests import USER, Manifests, Pod

PROJECT = Path(__file__).parents[3]
NAME = "hiring-kubernetes-check"
POSTGRES = "docker.io/library/postgres:17-trixie"
PATIENCE_SECONDS = 120
PLAYED = ("hiring-migrate", "hiring-api", "dagster-dagster-user-deployments-hiring")
KEY = secrets.token_hex(16)
HIRE = {"id": 1, "name": "Ada", "datetime": "2021-07-27T16:02:08Z", "department_id": 1, "job_id": 2}
POST_A_HIRE = f"""
import json, urllib.request
body, headers = {json.dumps([HIRE])!r}.encode(), {{"X-API-Key": {KEY!r}, "Content-Type": "application/json"}}
with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8000/employees", body, headers)) as answer:
    print(answer.status)
"""
# The user may write to none of the image's folders anyway: what matters is that the file system is read-only.
TRY_TO_WRITE = """
import errno, os, pathlib
print(os.getuid())
for place in ("/tmp/x", "/app/x"):
    try:
        pathlib.Path(place).touch()
        print("written")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


class NoEngine(RuntimeError):
    """podman is missing; the message says what was looked for."""


class Failed(RuntimeError):
    """A command of podman's failed, or a pod does not do what it should; the message says what happened."""


def engine_command() -> list[str]:
    """Return the words that run podman: those in PODMAN, else `podman` where it works.

    Raises:
        NoEngine: neither does.
    """
    command = shlex.split(os.environ.get("PODMAN", "podman"))
    if not shutil.which(command[0]):
        raise NoEngine("there is no `podman` here; PODMAN names another")
    done = subprocess.run([*command, "info"], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise NoEngine(f"`podman info` says: {' '.join(done.stderr.split())[:200]}")
    return command


class Engine:
    """podman with a network of its own; both the network and everything started are removed after the block."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command, self._folder = command, folder
        self._played: list[tuple[str, Path]] = []
        self.password = secrets.token_hex(16)

    def __enter__(self) -> Self:
        self._remove()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, path in self._played:
            # What `kube down` leaves: volumes that the image declares.
            names = self._run("ps", "--all", "--format={{.Names}}", f"--filter=pod={name}").stdout.split()
            self.succeeds("rm", "--force", "--volumes", *(each for each in names if each.startswith(f"{name}-")))
            self.succeeds("kube", "down", str(path))
        self._remove()

    def __call__(self, *arguments: str) -> str:
        """Run a command and return what it prints.

        Raises:
            Failed: its exit status is not 0.
        """
        done = self._run(*arguments)
        if done.returncode:
            raise Failed(f"podman {arguments[0]}: {(done.stderr + done.stdout)[-2000:].strip()}")
        return done.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Run a command and return whether its exit status is 0."""
        return self._run(*arguments).returncode == 0

    def said(self, container: str) -> str:
        """Return the end of a container's log."""
        done = self._run("logs", "--tail", "5", container)
        return (done.stdout + done.stderr).strip()

    def build(self, images: set[str]) -> None:
        """Build the project's images under the names that the manifests have for them."""
        for image in images:
            target = image.rpartition("/")[2].partition(":")[0].removeprefix("hiring-")
            self("build", "--quiet", "--file=deploy/docker/Dockerfile", f"--target={target}", f"--tag={image}", ".")

    def start_postgres(self) -> None:
        """Start a Postgres called postgres, with an empty database of the hires: what an operator has to provide."""
        self("network", "create", NAME)
        variables = {"POSTGRES_PASSWORD": self.password, "POSTGRES_DB": "hiring"}
        given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        self("run", "--detach", "--name", NAME, "--network", NAME, "--network-alias", "postgres", *given, POSTGRES)

    def play(self, name: str, documents: Sequence[Document]) -> None:
        """Start what is in some documents."""
        path = self._folder / f"{name}.yaml"
        path.write_text("\n---\n".join(json.dumps(each) for each in documents))
        self._played.append((name, path))
        self("kube", "play", "--quiet", "--network", NAME, str(path))

    def _remove(self) -> None:
        # They may not be there.
        self.succeeds("rm", "--force", "--volumes", NAME)
        self.succeeds("network", "rm", "--force", NAME)

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [*self._command, *arguments]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603


def steps(engine: Engine, manifests: Manifests) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield each sentence that must be true of running pods, with a function that raises Failed if it is not."""
    pods = {pod.name: pod for pod in manifests.pods if pod.name in PLAYED}
    settings = [*_settings(manifests), *_filled_in(manifests.secrets, engine.password)]
    images = {container["image"] for pod in pods.values() for _, container in pod.containers}
    migrate, api, code = (pods[name] for name in PLAYED)
    yield "Both images build, and Postgres starts", partial(_prepare, engine, images)
    yield (
        "The migration's pod creates roles, databases and tables, and succeeds",
        partial(_migrate, engine, settings, migrate),
    )
    for pod, what in ((api, "The API's"), (code, "The code server's")):
        yield f"{what} pod starts and passes its probes", partial(_start, engine, settings, pod)
        yield f"{what} pod runs as {USER} and can write to /tmp only", partial(_look, engine, pod)
    yield "The API accepts a hire with a key from its Secret", partial(_post, engine, api)


def _prepare(engine: Engine, images: set[str]) -> None:
    engine.build(images)
    engine.start_postgres()


def _migrate(engine: Engine, settings: Sequence[Document], pod: Pod) -> None:
    engine.play(pod.name, [*settings, _pod(pod)])
    if (status := engine("wait", _main(pod)).strip()) != "0":
        raise Failed(f"it ended with {status}: {engine.said(_main(pod))}")


def _start(engine: Engine, settings: Sequence[Document], pod: Pod) -> None:
    engine.play(pod.name, [*settings, _pod(pod)])
    for probe in _probes(pod):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not engine.succeeds("exec", _main(pod), *probe):
            if time.monotonic() > deadline:
                raise Failed(f"{shlex.join(probe)} fails; {engine.said(_main(pod))}")
            time.sleep(1)


def _look(engine: Engine, pod: Pod) -> None:
    found = engine("exec", _main(pod), "python", "-c", TRY_TO_WRITE).split()
    if found != [str(USER), "written", "EROFS"]:
        raise Failed(f"its user, and what happens to writes to /tmp and /app: {found}")


def _post(engine: Engine, pod: Pod) -> None:
    answer = engine("exec", _main(pod), "python", "-c", POST_A_HIRE).strip()
    if answer != "201":
        raise Failed(f"it answers {answer}")


def _main(pod: Pod) -> str:
    """Return podman's name for the pod's main container."""
    (container,) = pod.spec["containers"]
    return f"{pod.name}-{container['name']}"


def _probes(pod: Pod) -> Iterator[list[str]]:
    """Yield each probe of a pod as a command, HTTP ones with the image's own client."""
    (container,) = pod.spec["containers"]
    ports = {each["name"]: each["containerPort"] for each in container.get("ports", [])}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        match container.get(probe):
            case {"exec": {"command": command}}:
                yield command
            case {"httpGet": {"path": path, "port": port}}:
                yield ["python", "-m", "deploy.probes", "http", f"{ports[port]}{path}"]


def _pod(pod: Pod) -> Document:
    """Return a pod as podman can play it.

    Without probes, which podman would run with a program that the image lacks, and ports, which it would publish.
    """
    (container,) = pod.spec["containers"]
    left_out = ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "ports")
    kept = {name: value for name, value in container.items() if name not in left_out}
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name},
        "spec": {**pod.spec, "restartPolicy": "Never", "containers": [kept]},
    }
    text = json.dumps(made).replace("secretKeyRef", "configMapKeyRef").replace("secretRef", "configMapRef")
    found: Document = json.loads(text)
    return found


def _settings(manifests: Manifests) -> Iterator[Document]:
    for each in manifests.of("ConfigMap"):
        name, changed = each["metadata"]["name"], {}
        if name == "hiring-settings":
            changed = {"PGHOST": "postgres", "PGSSLMODE": "disable"}
        yield {**each, "metadata": {"name": name}, "data": each["data"] | changed}


def _filled_in(names: Mapping[str, Mapping[str, Any]], password: str) -> list[Document]:
    keys = [{"name": "check", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "scopes": ["write"]}]
    known = {"PGUSER": "postgres", "PGPASSWORD": password, "API_KEYS": json.dumps(keys), "ALERT_WEBHOOK_URL": ""}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {key: known.get(key, secrets.token_hex(16)) for key in values},
        }
        for name, values in names.items()
    ]
