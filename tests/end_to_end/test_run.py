"""`make run` loads a folder, and prints both metrics and the number of records of each kind."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.sample import write_sample
from orchestration.ingest.tables import seems_delivered, table_of
from tests import oracle
from tests.conftest import CHALLENGE
from tests.end_to_end.conftest import PROJECT, ports

FILES = {"departments": ["departments.csv"], "jobs": ["jobs.csv"], "hired_employees": ["hired_employees.csv"]}


def run(state_dir: Path, landing: Path | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ports() | {"STATE_DIR": str(state_dir), "LANDING": str(landing or ""), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "deploy.local", "run"],
        cwd=PROJECT, env=environment | settings, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def metric_1(output: str) -> list[dict[str, object]]:
    """Parse metric 1 from the output."""
    section = output.split("Hires of 2021")[1].split("Departments that hired")[0]
    rows = re.findall(r"^ *(\S.*?) {2,}(\S.*?) +(\d+) +(\d+) +(\d+) +(\d+) *$", section, re.MULTILINE)
    return [{"department": row[0], "job": row[1]} | {f"Q{n}": int(row[n + 1]) for n in range(1, 5)} for row in rows]


def metric_2(output: str) -> list[dict[str, object]]:
    """Parse metric 2 from the output."""
    section = output.split("Departments that hired")[1].split("Rejected records")[0]
    rows = re.findall(r"^ *(\d+) {2,}(\S.*?) +([\d,]+) *$", section, re.MULTILINE)
    return [{"id": int(row[0]), "department": row[1], "hired": int(row[2].replace(",", ""))} for row in rows]


def every_hire_by_quarter(state_dir: Path) -> list[dict[str, object]]:
    """Read all of metric 1 of 2021 with psql."""
    query = """
        copy (
            select department, job, q1, q2, q3, q4 from marts.hires_by_quarter where year = 2021
            order by department collate "C", job collate "C"
        ) to stdout (format csv)
    """
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "psql", "--sql", query],
        cwd=PROJECT, env=os.environ | ports() | {"STATE_DIR": str(state_dir)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = csv.reader(io.StringIO(done.stdout))
    return [{"department": row[0], "job": row[1]} | {f"Q{n}": int(row[n + 1]) for n in range(1, 5)} for row in rows]


def without_times_and_loads(output: str) -> str:
    report = output[output.index("Hires of 2021") :]
    return re.split(r"\n *(?:Loaded now|Nothing new)", report)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real files if they are available, else the sample, and a file of no table."""
    landing = tmp_path_factory.mktemp("landing")
    if CHALLENGE.exists():
        for path in CHALLENGE.iterdir():
            shutil.copyfile(path, landing / path.name)
    else:
        write_sample(landing)
        (landing / "README.md").write_text("not a table")
    return landing


def test_a_folder_is_loaded_the_printed_metrics_are_the_oracles_and_a_second_run_loads_only_what_is_new(
    folder: Path, tmp_path: Path
) -> None:
    frames = oracle.frames(folder, FILES)

    first = run(tmp_path / "state", folder)
    (folder / "jobs_broken.csv.gz").write_bytes(b"\x1f\x8b\x08 not really")
    second = run(tmp_path / "state", folder)

    assert first.returncode == 0, first.stderr
    hires = oracle.hires_by_quarter(frames, 2021)
    assert metric_1(first.stdout) == hires[:10]
    assert f"... and {len(hires) - 10:,} more in marts.hires_by_quarter" in first.stdout
    assert every_hire_by_quarter(tmp_path / "state") == hires
    assert metric_2(first.stdout) == oracle.departments_above_mean(frames, 2021)[1]
    for table, frame in frames.items():
        invalid = 70 if CHALLENGE.exists() and table == "hired_employees" else r"\d+"
        assert re.search(rf"{table} +{table}.csv +{len(frame):,} +0 +{invalid} +complete", first.stdout)
    if CHALLENGE.exists():
        assert "70 open rejected records by reason" in first.stdout
        for field, count in (("name", 19), ("datetime", 14), ("department_id", 21), ("job_id", 16)):
            assert re.search(rf"hired_employees +{field} +missing +{count}\b", first.stdout)
    assert second.returncode == 1
    assert second.stderr.strip() == "1 of the objects could not be loaded; the reasons are in the table above"
    loaded_now = second.stdout.split("Loaded now")[1]
    assert "jobs_broken.csv.gz is not valid gzip" in loaded_now
    assert "complete" not in loaded_now
    assert without_times_and_loads(second.stdout) == without_times_and_loads(first.stdout)


def test_an_empty_folder_is_filled_with_the_sample(tmp_path: Path) -> None:
    done = run(tmp_path / "state")

    assert done.returncode == 0, done.stderr
    frames = oracle.frames(tmp_path / "state" / "s3" / "landing", FILES)
    assert metric_1(done.stdout) == oracle.hires_by_quarter(frames, 2021)[:10]


@pytest.mark.parametrize(
    ("name", "is_taken", "is_refused"),
    [
        ("staff.csv", False, True),
        ("hired_employees.txt", False, True),
        ("notes.md", False, False),
        (".DS_Store", False, False),
        ("jobs/2021.csv", True, False),
    ],
)
def test_a_file_that_is_ignored_is_named_and_fails_the_run_if_it_seems_to_be_delivered(
    name: str, is_taken: bool, is_refused: bool
) -> None:
    assert (table_of(name) is not None) == is_taken
    assert (seems_delivered(name) and not is_taken) == is_refused
