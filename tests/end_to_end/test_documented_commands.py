"""README.md and docs/api.md: each command is run exactly as written there, in order, on one stack.

What is indented is a command or the output of the one before it. A new block is run unless it is listed here.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import psycopg
import pytest

from tests.end_to_end.conftest import PROJECT, RunningStack, end, ports, start_stack

DOCUMENTS = ("README.md", "docs/api.md")
# Beginnings of commands that are not run here, and why.
NOT_HERE = {
    "make run LANDING=": "needs the STATE_DIR that `make up` has; test_run.py does it",
    "make run": "is run before everything else, by the fixture",
    "make up": "is the stack of these tests",
    "make docs": "serves until Ctrl-C",
    "make secrets": "is for containers",
    "make compose-check": "needs a container engine",
    "make aws-check": "needs Terraform",
    "make kubernetes-check": "needs podman for all of it",
    "make test": "runs this test",
    "make lint": "is run by those who change the code",
    "make bench": "takes minutes, and nothing else may run",
    "make soak": "takes minutes",
    "make format": "changes the code",
    "curl http://127.0.0.1:$API_METRICS_PORT": "is for a process of the API that has the setting",
}
# Beginnings of what commands print; everything else is a command.
OUTPUT = ("{", " ", "53 open rejected records", "What became of every record")
# A load's number is another one on each server: the last that a POST was answered with.
LAST_LOAD = r"""$(grep -o '"load_id":[0-9]*' answers | tail -1 | cut -d: -f2)"""
# As the documents have them, and where they are here.
PORTS = {"3000": "DAGSTER_PORT", "8000": "API_PORT", "9000": "S3_PORT", "5433": "PG_PORT"}
PRELUDE = r"""
set -o errexit -o pipefail
# What is installed is the same for whichever checkout is tested.
make() { command make --no-print-directory --old-file=.venv/.installed "$@"; }
curl() { command curl "$@" | tee -a answers; }
"""


@dataclass(frozen=True)
class Block:
    """Commands of a document, with their documented output."""

    document: str
    line: int
    text: str
    output: str

    def __str__(self) -> str:
        """Where it stands."""
        return f"{self.document}:{self.line}"


def blocks(document: str) -> list[Block]:
    """Return the indented blocks of a document, except indented paragraphs of lists."""
    found: list[tuple[int, str]] = []
    text = (PROJECT / document).read_text()
    for match in re.finditer(r"(?:(?<=\n\n)|\A)(?:    .*\n(?:\n(?=    ))?)+", text):
        lines = [line[4:] for line in match[0].splitlines()]
        line = text.count("\n", 0, match.start()) + 1
        # What a command prints follows it after a blank line.
        found.extend((line, part) for part in "\n".join(lines).split("\n\n"))
    commands: list[Block] = []
    for line, part in found:
        if not part.startswith(OUTPUT):
            commands.append(Block(document, line, part, ""))
        else:
            last = commands[-1]
            commands[-1] = Block(document, last.line, last.text, f"{last.output}\n{part}".strip("\n"))
    return commands


def to_run(text: str) -> str:
    """Return the commands of a block but for those that are not run here; what is indented continues a command."""
    commands = re.findall(r"^\S.*\n?(?:^\s+.*\n?)*", text, re.MULTILINE)
    return "".join(command for command in commands if not command.startswith(tuple(NOT_HERE)))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A checkout in which somebody has typed `make run`, then `make up`."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("Makefile", ".venv", "pyproject.toml", "requirements.lock"):
        (folder / name).symlink_to(PROJECT / name)
    chosen = ports()
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "run"],
        cwd=PROJECT, env=os.environ | chosen | {"STATE_DIR": str(folder / ".local"), "LANDING": ""},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "run.out").write_text(done.stdout)
    running = start_stack(folder / ".local", chosen)
    yield running
    end(running.process, running.state_dir)


@pytest.fixture(scope="module")
def printed(stack: RunningStack) -> str:
    """What `make up` has printed."""
    stack.wait_for("the end of what it prints", lambda: "Ctrl-C stops" in output_of(stack).read_text())
    return output_of(stack).read_text()


def output_of(stack: RunningStack) -> Path:
    return stack.state_dir.with_name(".local.out")


def run_as_written(stack: RunningStack, listed: list[Block]) -> list[str]:
    """Run blocks one after the other in one shell; return what each that failed has printed."""
    folder = stack.state_dir.parent
    (folder / ".curlrc").write_text('write-out = "%{stderr}<HTTP %{http_code}>\\n"\n')
    script = [PRELUDE]
    for number, block in enumerate(listed):
        text = to_run(block.text).replace("export API_KEY=…", f"export API_KEY={stack.key}")
        text = text.replace("path/to/", f"{stack.landing}/").replace("/loads/1", f"/loads/{LAST_LOAD}")
        for port, setting in PORTS.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{stack.ports.get(setting, port)}")
        script += [f"echo '<block {number}>' | tee /dev/stderr", text]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in ("STATE_DIR", "API_KEY")}
        | stack.ports
        | {"PYTHONPATH": str(PROJECT), "CURL_HOME": str(folder), "LANDING": ""}
        | {"API_KEY": stack.key},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    outputs, errors = (
        dict(re.findall(r"<block (\d+)>\n(.*?)(?=<block |\Z)", text, re.DOTALL)) for text in (done.stdout, done.stderr)
    )
    failures = []
    for number, block in enumerate(listed):
        printed, error = outputs.get(str(number)), errors.get(str(number), "")
        if printed is None:
            failures.append(f"{block} was not reached")
            continue
        statuses = [int(status) for status in re.findall(r"<HTTP (\d+)>", error)]
        expected = as_json(block.output)
        refused = expected.get("status") if isinstance(expected, dict) else None
        if any(status >= 400 and status != refused for status in statuses):
            failures.append(f"{block} is answered {statuses}: {printed}")
        answer = as_json(printed)
        if isinstance(expected, dict) and isinstance(answer, dict) and expected.keys() != answer.keys():
            failures.append(f"{block} is answered {sorted(answer)}, and the document says {sorted(expected)}")
    if done.returncode:
        last = max(map(int, outputs), default=0)
        failures.append(f"{listed[last]} ended with status {done.returncode}: {outputs[str(last)]}{errors[str(last)]}")
    return failures


def as_json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_each_exception_is_still_in_a_document() -> None:
    """An obsolete exception would hide a new command."""
    texts = "\n".join(block.text for document in DOCUMENTS for block in blocks(document))
    for beginning in NOT_HERE:
        assert re.search(rf"^{re.escape(beginning)}", texts, re.MULTILINE), beginning


def test_each_command_of_the_readme_works_as_it_is_written(stack: RunningStack, printed: str) -> None:
    assert printed
    failures = run_as_written(stack, blocks("README.md"))
    assert failures == []
    stack.wait_for(
        "the hire that the README copies into the folder",
        lambda: "Ada Lovelace" in stack.sql("select name from staging.hired_employees where id = 4600"),
    )


def test_each_command_of_the_api_works_as_it_is_written(stack: RunningStack) -> None:
    failures = run_as_written(stack, blocks("docs/api.md"))
    assert failures == []


def test_the_readme_shows_what_is_printed(stack: RunningStack, printed: str) -> None:
    """Numbers and keys vary; the words and their positions do not."""
    shown = {block.text: block.output for block in blocks("README.md")}
    labels = re.findall(r"^ *([A-Z]\w+(?: UI)?) {2,}", shown["make up"], re.MULTILINE)
    assert labels == ["Dagster UI", "API", "Files", "S3", "Postgres"]
    for label in labels:
        assert re.search(rf"^ *{label} {{2,}}", printed, re.MULTILINE), label
    report = stack.state_dir.with_name("run.out").read_text()
    printed_lines = {" ".join(line.split()) for line in report.splitlines()}
    for line in shown["make run"].splitlines():
        # The rest of a table is left out with an ellipsis, which makes its rule shorter.
        assert not line.strip(" …─") or " ".join(line.split()) in printed_lines, line


def test_the_keys_that_are_printed_open_the_bucket_and_the_database(stack: RunningStack, printed: str) -> None:
    keys = re.search(
        r"AWS_ACCESS_KEY_ID=(\S+) AWS_SECRET_ACCESS_KEY=(\S+) aws --endpoint-url (\S+) s3 cp FILE.csv s3://(\S+)/",
        printed,
    )
    address = re.search(r"postgresql://hiring_reader:\S+", printed)
    folder = re.search(r"cp FILE.csv (\S+)/\n", printed)
    assert keys
    assert address
    assert folder
    s3 = boto3.client(
        "s3",
        endpoint_url=keys[3], aws_access_key_id=keys[1], aws_secret_access_key=keys[2], region_name="us-east-1",
    )  # fmt: skip
    s3.put_object(Bucket=keys[4], Key="jobs_printed.csv", Body=b"id,job\n900,Printed\n")
    assert (Path(folder[1]) / "jobs_printed.csv").exists()
    with psycopg.connect(address[0], autocommit=True) as reader:
        stack.wait_for(
            "the job in what BI tools see",
            lambda: bool(reader.execute("select from staging.jobs where id = 900").fetchall()),
        )
