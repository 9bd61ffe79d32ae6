"""`make compose-check`: runs the compose file with the events of a year of operation.

Needs a container engine: Docker's compose, or whatever runs compose files by the words in COMPOSE. It works under a
name, in folders and on ports of its own, and leaves nothing behind but the images.
"""

import json
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from deploy.docker.secrets import VALUES
from deploy.local.sample import write_sample
from tests import oracle
from tests.conftest import free_port
from tests.containers.engine import Compose, Failed, NoEngine, compose_command
from tests.faults.texts import hires_text
from tests.outside import Outside

YEAR = 2021
PATIENCE_SECONDS = 240
# In which a sensor sees a new file for sure.
SENSORS_SECONDS = 15
MANY = 2_000_000
BATCH = [
    {"id": 9_000_001 + n, "name": "Ada Lovelace", "datetime": "2021-07-27T16:02:08Z", "department_id": 1, "job_id": 2}
    for n in range(7)
]

PLACES = {"postgres": 5432, "s3": 9000, "code-server": 4000, "webserver": 3000}
CHUNKS_UNDER_WAY = """
    select count(*) from raw.load_chunks join raw.loads using (load_id) where status = 'loading'
"""
LAST_IS_PUBLISHED = """
    select min(mark) = (select max(completion) from raw.loads)
        and not exists (select from raw.loads where status = 'loading')
    from staging.progress where input = 'loads' and model in ('departments_above_mean', 'hires_by_quarter')
"""
ROWS_OF_LAST = """
    select count(*), count(distinct _record) from raw.hired_employees
    where _load_id = (select max(load_id) from raw.loads)
"""

out = Console(soft_wrap=True, highlight=False)


class NotSo(RuntimeError):
    """Something that has to be so is not."""


class Pipeline(Outside):
    """The services of the compose file, from their first start to their last end."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.landing, self.archive, self.backups = (folder / name for name in ("landing", "archive", "backups"))
        for each in (self.landing, self.archive, self.backups):
            each.mkdir()
        secrets = {name: value() for name, value in VALUES.items()}
        self.key = secrets["API_KEY"]
        self.ports = {name: str(free_port()) for name in ("API_PORT", "DAGSTER_PORT")}
        places = {
            "LANDING": str(self.landing), "ARCHIVE": str(self.archive), "BACKUPS": str(self.backups),
            "VERSION": "check",
            # A tenth of the many hires is malformed or invalid.
            "REJECT_COUNT": str(MANY),
        }  # fmt: skip
        self.compose = Compose(command, secrets | self.ports | places, folder / "compose.log")

    def metrics(self) -> tuple[object, object]:
        """Return both metrics of the year from the API."""
        quarters = self.get(f"/metrics/hires-by-quarter?year={YEAR}&limit=1000")
        return quarters["items"], self.get(f"/metrics/departments-above-mean?year={YEAR}")["items"]

    def wait_for(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait until a condition holds; one that cannot be checked yet does not hold.

        Raises:
            NotSo: it did not come to hold.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if is_so():
                    return
                last = "no"
            except (OSError, Failed) as error:  # an answer of 503 is an OSError, too
                last = str(error)
            if time.monotonic() > deadline:
                raise NotSo(f"after {PATIENCE_SECONDS} s still not so: {what} ({last})")
            time.sleep(0.5)

    def wait_for_metrics(self, expected: tuple[object, object]) -> None:
        """Wait until the API returns these metrics, and check that every record is in exactly one place."""
        self.wait_for("the metrics are those of pandas over the files", lambda: self.metrics() == expected)
        require(self.compose.sql("select count(*) from raw.discrepancies") == "0", "the ledger and raw agree")

    def wait_until_all_serve(self) -> None:
        """Wait until the API responds and Dagster's UI has loaded the code."""
        self.wait_for("the API is alive", lambda: self.get("/health/live") is not None)
        self.wait_for("Dagster's UI has the code", lambda: "__repository__" in json.dumps(
            self.graphql("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
        ))  # fmt: skip

    def run_to_its_end(self, job: str, config: str = "{}") -> None:
        """Launch a job in Dagster's UI and wait until it has succeeded."""
        run_id = self.launch(job, config=config)
        self.wait_for(f"{job} has ended", lambda: self.run(run_id)["status"] in ("SUCCESS", "FAILURE", "CANCELED"))
        require(self.run(run_id)["status"] == "SUCCESS", f"{job} succeeds")


def require(is_so: bool, what: str) -> None:
    """Raise NotSo unless it is so."""
    if not is_so:
        raise NotSo(f"not so: {what}")


@contextmanager
def step(sentence: str) -> Iterator[None]:
    """Show that a step is under way, then that what it says is so, and what that took."""
    started = time.monotonic()
    try:
        with out.status(sentence):
            yield
    except BaseException:
        out.print(f"[red]✗[/] {sentence}")
        raise
    out.print(f"[green]✓[/] {sentence} [dim]{time.monotonic() - started:.0f} s[/]")


def check_start(pipeline: Pipeline) -> None:
    """Build, start, and check the containers' permissions."""
    compose = pipeline.compose
    with step("Without an image of the project one command builds both, and all services start, in any order"):
        compose("up", "--detach", "--build")
        pipeline.wait_until_all_serve()
    for line in compose("images").decode().splitlines():
        out.print(f"  [dim]{line}[/]")
    with step("They run as nobody in particular, without secrets in files, on file systems that they cannot write to"):
        for service in ("api", "code-server", "webserver", "daemon"):
            require(compose.python(service, "import os; print(os.getuid())") == "10001", f"{service} is not root")
            tried = "import pathlib\ntry: pathlib.Path('/app/x').touch()\nexcept OSError as e: print(e.strerror)"
            require("ead-only" in compose.python(service, tried), f"{service} cannot write to its file system")
            tried = "import pathlib; print(*pathlib.Path('/app').rglob('.env*'))"
            require(compose.python(service, tried) == "", f"{service}'s image has no file of secrets")
    with step("The API reaches Postgres, and neither S3 nor Dagster; only the code server reaches S3"):
        require(_reached_from(compose, "api") == ["postgres"], "the API reaches Postgres alone")
        require("s3" not in _reached_from(compose, "daemon"), "the daemon does not reach S3")
        require(_reached_from(compose, "code-server") == list(PLACES), "the code server reaches them all")


def check_faults(pipeline: Pipeline) -> tuple[object, object]:
    """Bring records in by both ways, with servers failing under them; return the metrics at the end."""
    compose, landing = pipeline.compose, pipeline.landing
    files = {"departments": ["departments.csv"], "jobs": ["jobs.csv"], "hired_employees": ["hired_employees.csv"]}

    def expected() -> tuple[object, object]:
        frames = oracle.frames(landing, files)
        return oracle.hires_by_quarter(frames, YEAR), oracle.departments_above_mean(frames, YEAR)[1]

    with step("Files that are dropped into the landing folder are in the metrics, as pandas counts them"):
        write_sample(landing)
        pipeline.wait_for_metrics(expected())
    with step("So are hires that arrive over HTTP"):
        require(pipeline.post("/employees", BATCH)["accepted"] == len(BATCH), "the batch is accepted")
        files["hired_employees"].append(_batch_as_file(landing))
        pipeline.wait_for_metrics(expected())
    with step("Postgres restarts: the next file is in the metrics, and nothing is lost"):
        compose("restart", "postgres")
        (landing / "hired_employees-2.csv").write_text("9100001,Grace Hopper,2021-01-02T03:04:05Z,2,3\n")
        files["hired_employees"].append("hired_employees-2.csv")
        pipeline.wait_for_metrics(expected())
    with step(f"The code server is killed while {MANY:,} hires load: each is there once"):
        _drop(landing, "hired_employees-3.csv", hires_text(MANY))
        pipeline.wait_for("chunks of the load are committed", lambda: int(compose.sql(CHUNKS_UNDER_WAY)) > 0)
        compose("kill", "--signal", "KILL", "code-server")
        require(int(compose.sql(CHUNKS_UNDER_WAY)) > 0, "it was killed half-way")
        compose("start", "code-server")
        pipeline.wait_for("the load is complete and published", lambda: compose.sql(LAST_IS_PUBLISHED) == "t")
        require(compose.sql("select count(*) from raw.discrepancies") == "0", "the ledger and raw agree")
        good = MANY - MANY // 50
        require(compose.sql(ROWS_OF_LAST) == f"{good}|{good}", "each of its good records is in raw, once")
    return pipeline.metrics()


def check_ends(pipeline: Pipeline, metrics: tuple[object, object]) -> None:
    """Take everything down and up, then lose it all, and have it back from a backup."""
    compose = pipeline.compose
    with step("Down and up again: the same metrics"):
        compose("down")
        compose("up", "--detach")
        pipeline.wait_until_all_serve()
        pipeline.wait_for("the API tells the same", lambda: pipeline.metrics() == metrics)
    with step("The backup service dumps both databases while everything runs, since there is no recent dump"):
        for old in pipeline.backups.iterdir():
            old.unlink()
        pipeline.wait_for("there are two dumps", lambda: len(list(pipeline.backups.glob("*.dump"))) == 2)
        compose("exec", "-T", "backup", "bash", "/backup", "is-recent")
        dumps = {path.name.partition("-")[0]: path.read_bytes() for path in pipeline.backups.glob("*.dump")}
    loads = compose.sql("select count(*) from raw.loads")
    with step("Everything is destroyed, and restored from the backup: the same metrics"):
        compose("down", "--volumes")
        compose("up", "--detach", "postgres")
        compose("run", "--rm", "migrate")
        for database, dump in dumps.items():
            compose(
                *("exec", "-T", "postgres", "pg_restore", "--username", "postgres", "--clean", "--if-exists"),
                *("--single-transaction", "--dbname", database), given=dump,
            )  # fmt: skip
        compose("up", "--detach")
        pipeline.wait_until_all_serve()
        pipeline.wait_for("the API tells the same", lambda: pipeline.metrics() == metrics)
        require(_has_the_same_loads(pipeline, loads), "no file is loaded once more")
    with step("Raw is exported to the archive bucket by a job in Dagster's UI"):
        pipeline.run_to_its_end("export_raw")
    with step("Everything is destroyed once more, and restored from the export alone: the same metrics"):
        compose("down", "--volumes")
        compose("up", "--detach", "postgres", "s3")
        compose("run", "--rm", "migrate")
        compose("run", "--rm", "code-server", "python", "-m", "orchestration.archive", "restore")
        compose("up", "--detach")
        pipeline.wait_until_all_serve()
        pipeline.wait_for("the API tells the same", lambda: pipeline.metrics() == metrics)
        require(_has_the_same_loads(pipeline, loads), "no file is loaded once more")
        require(compose.sql("select count(*) from raw.discrepancies") == "0", "the ledger and raw agree")


def _has_the_same_loads(pipeline: Pipeline, loads: str) -> bool:
    """Give the sensors time to load something that they should not load, and check."""
    time.sleep(SENSORS_SECONDS)
    return pipeline.compose.sql("select count(*) from raw.loads") == loads


def _reached_from(compose: Compose, service: str) -> list[str]:
    program = (
        f"import socket\nfor name, port in {PLACES}.items():\n"
        "    try: socket.create_connection((name, port), 2).close(); print(name)\n    except OSError: pass"
    )
    return compose.python(service, program).split()


def _batch_as_file(landing: Path) -> str:
    """Write the batch next to the landing folder's files for pandas, under a name that belongs to no table."""
    (landing / "for-pandas.csv").write_text("".join(",".join(map(str, hire.values())) + "\n" for hire in BATCH))
    return "for-pandas.csv"


def _drop(landing: Path, name: str, text: bytes) -> None:
    draft = landing / f".{name}"
    draft.write_bytes(text)
    draft.rename(landing / name)


def main() -> None:
    """Run the story; exit status 1 when something in it is not so."""
    try:
        command = compose_command()
    except NoEngine as error:
        out.print(f"[yellow]Skipped:[/] no container engine, so nothing was checked; {error}")
        out.print("COMPOSE='podman compose' names another than Docker's.")
        return
    with tempfile.TemporaryDirectory(prefix="hiring-check-") as name:
        pipeline = Pipeline(command, Path(name))
        try:
            pipeline.compose("down", "--volumes")
            check_start(pipeline)
            check_ends(pipeline, check_faults(pipeline))
        except (NotSo, Failed, urllib.error.URLError) as error:
            out.print(f"[red]{error}[/]")
            for service in ("migrate", "code-server", "daemon", "api"):
                out.print(
                    f"--- {service}", *pipeline.compose("logs", "--tail", "15", service).decode().splitlines(), sep="\n"
                )
            sys.exit(1)
        finally:
            pipeline.compose("down", "--volumes")


if __name__ == "__main__":
    main()
