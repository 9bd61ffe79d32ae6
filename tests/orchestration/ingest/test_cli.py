"""`python -m orchestration.ingest`: its output and exit status, on real servers."""

import gzip
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestration.ingest.__main__ import app
from tests.conftest import CHALLENGE, Bucket, Database, environment

BAD = b"id,job\n1,a\n2\n3,b,c\n4,caf\xe9\n5,d\n6,e\n7,f\n8,g\n"


@pytest.fixture
def servers(database: Database, bucket: Bucket) -> Iterator[Bucket]:
    """The bucket, with every setting of the commands pointing at it and at the test's database."""
    credentials = bucket.client._request_signer._credentials  # type: ignore[attr-defined]
    settings = {
        "S3_ENDPOINT_URL": bucket.endpoint,
        "S3_BUCKET": bucket.name,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with environment(database.environment | settings):
        yield bucket


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def in_words(result: Result) -> str:
    return " ".join(result.output.split())


class TestValidate:
    def test_it_predicts_what_a_load_then_does_and_writes_nothing(self, servers: Bucket, database: Database) -> None:
        servers.put("jobs.csv", BAD)
        for source in (f"s3://{servers.name}/jobs.csv", str(servers.folder / "jobs.csv")):
            found = run("validate", source)
            assert found.exit_code == 0, found.output
            assert "8 records, 3 rejected" in found.output
            assert "record 2 in line 3, has 1 field instead of 2" in found.output
            assert "would load" in found.output
        assert database.rows("select count(*) from raw.loads") == [(0,)]
        run("load")
        assert database.rows("select records, rejected from raw.loads") == [(8, 3)]
        assert database.rows("select reason, line from raw.rejected_records order by record") == [
            ("too_few_fields", 3),
            ("too_many_fields", 4),
            ("invalid_utf8", 5),
        ]

    def test_a_file_needs_neither_a_database_nor_a_bucket(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.csv.gz"
        path.write_bytes(gzip.compress(BAD))
        nowhere = {"PATH": os.environ["PATH"], "PGHOST": "/nowhere", "S3_ENDPOINT_URL": "http://127.0.0.1:1"}
        command = [sys.executable, "-m", "orchestration.ingest", "validate", str(path)]
        found = subprocess.run(command, env=nowhere, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stderr) == (0, "")
        assert "8 records, 3 rejected" in " ".join(found.stdout.split())

    def test_it_reports_why_a_load_would_fail(self, tmp_path: Path) -> None:
        (tmp_path / "jobs.csv").write_bytes(b"1;a;x\n2;b;y\n")
        found = run("validate", str(tmp_path / "jobs.csv"))
        assert found.exit_code == 1
        assert "is the delimiter ';'?" in in_words(found)
        assert "more than 50% of the records are rejected" in in_words(found)

    def test_it_reports_the_same_invalid_values_as_a_load(self, servers: Bucket) -> None:
        lines = [
            b"%d,Ada,%b,1,1\n" % (number, b"01.02.2021" if number <= 60 else b"2021-02-01") for number in range(1, 101)
        ]
        servers.put("hired_employees.csv", b"".join(lines))
        source = f"s3://{servers.name}/hired_employees.csv"
        predicted, done = run("validate", source), run("load", source)
        assert (predicted.exit_code, done.exit_code) == (1, 1)
        reason = (
            "60 of 100 rejected (0 malformed, 60 invalid), 60 of them as datetime:not_a_datetime; the first, record 1"
        )
        assert reason in in_words(predicted)
        assert "datetime:not_a_datetime 60 record 1 in line 1, has datetime '01.02.2021'" in in_words(predicted)
        assert predicted.stderr.strip().removeprefix("would fail: ") == done.stderr.strip().removeprefix(
            "load 1: failed: "
        )

    def test_it_shows_how_the_file_is_written(self, tmp_path: Path) -> None:
        (tmp_path / "jobs.csv").write_text("Jobs\nID;Title;[Pay]\n1;a;9\nid;TITLE;pay\n2;b;9\n", encoding="utf-16")
        found = run("validate", str(tmp_path / "jobs.csv"))
        assert found.exit_code == 0, found.output
        for line in (
            "encoding: utf-16-le",
            "delimiter: semicolon",
            "header: line 2",
            "columns: id, job",
            "left out: [Pay]",
            "repeated headers: 1",
            "2 records, 0 rejected",
        ):
            assert line in found.output
        (tmp_path / "jobs.csv").write_bytes(b"1,a\n")
        assert "header: none, columns by position" in run("validate", str(tmp_path / "jobs.csv")).output

    def test_brackets_in_names_and_records_are_shown_unchanged(self, tmp_path: Path) -> None:
        """As markup, rich would leave out [final], and end with a traceback at [/b]."""
        path = tmp_path / "jobs [final].csv"
        path.write_bytes(b"id,job[/b]\n1,a\n")
        found = run("validate", str(path))
        assert found.exit_code == 1
        assert f"{path} for raw.jobs: 0 records" in found.output
        assert "has unknown 'job[/b]'" in in_words(found)
        path.write_bytes(b"id,job\n1,a\n2,b,[/b]\n")
        assert run("validate", str(path)).exit_code == 0

    def test_how_much_may_be_rejected_is_a_setting(self, tmp_path: Path) -> None:
        (tmp_path / "jobs.csv").write_bytes(BAD)
        assert run("validate", str(tmp_path / "jobs.csv"), "--reject-share", "0.3").exit_code == 1
        assert run("validate", str(tmp_path / "jobs.csv"), "--reject-count", "2").exit_code == 1
        with environment({"REJECT_SHARE": "0.3"}):
            assert run("validate", str(tmp_path / "jobs.csv")).exit_code == 1

    def test_a_file_whose_name_does_not_identify_its_table_requires_the_option(self, tmp_path: Path) -> None:
        (tmp_path / "may.csv").write_bytes(b"1,a\n")
        assert run("validate", str(tmp_path / "may.csv")).exit_code == 2
        assert run("validate", str(tmp_path / "may.csv"), "--table", "jobs").exit_code == 0
        assert run("validate", str(tmp_path / "may.csv"), "--table", "job").exit_code == 2

    @pytest.mark.skipif(not CHALLENGE.exists(), reason="the real files are not next to this checkout")
    def test_the_real_files_would_load_with_the_few_records_that_lack_something_rejected(self) -> None:
        for name, totals in (
            ("departments", "12 records, 0 rejected"),
            ("jobs", "183 records, 0 rejected"),
            ("hired_employees", "1,999 records, 70 rejected (0 malformed, 70 invalid)"),
        ):
            found = run("validate", str(CHALLENGE / f"{name}.csv"))
            assert found.exit_code == 0
            assert totals in in_words(found)


class TestLoad:
    def test_everything_new_in_the_bucket_is_loaded_once(self, servers: Bucket, database: Database) -> None:
        servers.put("jobs.csv", b"1,a\n")
        servers.put("departments.csv", b"1,a\n2,b\n")
        first = run("load")
        assert first.exit_code == 0, first.output
        assert database.rows("select table_name, records from raw.loads order by 1") == [
            ("departments", 2),
            ("jobs", 1),
        ]
        assert run("load").output.strip() == "nothing new"

    def test_a_table_can_be_chosen(self, servers: Bucket, database: Database) -> None:
        servers.put("jobs.csv", b"1,a\n")
        servers.put("departments.csv", b"1,a\n2,b\n")
        run("load", "--table", "jobs")
        assert database.rows("select table_name from raw.loads") == [("jobs",)]

    @pytest.mark.usefixtures("servers")
    def test_a_file_is_loaded_once_until_it_changes(self, database: Database, tmp_path: Path) -> None:
        path = tmp_path / "jobs.csv"
        path.write_bytes(b"1,a\n")
        for _ in range(2):
            assert "1 records, 0 rejected" in in_words(run("load", str(path)))
        path.write_bytes(b"1,a\n2,b\n")
        run("load", str(path))
        assert database.rows("select bucket, key, records from raw.loads order by load_id") == [
            ("file://", str(path), 1),
            ("file://", str(path), 2),
        ]
        assert database.rows("select count(*) from raw.jobs") == [(3,)]

    def test_a_failed_object_ends_in_an_error_and_can_be_tried_again_with_another_limit(
        self, servers: Bucket, database: Database
    ) -> None:
        servers.put("jobs.csv", b"1,a\n2\n3\n")
        assert run("load").exit_code == 1
        assert run("load").output.strip() == "nothing new"
        again = run("load", f"s3://{servers.name}/jobs.csv", "--reject-share", "0.9")
        assert again.exit_code == 0, again.output
        assert database.rows("select status, records, rejected, error from raw.loads") == [("complete", 3, 2, None)]
        assert database.rows("select count(*) from raw.jobs") == [(1,)]

    @pytest.mark.usefixtures("servers")
    def test_a_terminal_is_shown_how_far_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "jobs.csv"
        path.write_bytes(b"".join(b"%d,job\n" % number for number in range(200_000)))
        parent, child = pty.openpty()
        command = [sys.executable, "-m", "orchestration.ingest", "load", str(path)]
        with subprocess.Popen(command, stderr=child, stdout=subprocess.PIPE, text=True) as process:
            os.close(child)
            shown = b""
            try:
                while block := os.read(parent, 4096):
                    shown += block
            except OSError:
                pass  # how a terminal ends on Linux
            assert process.wait(30) == 0
            assert process.stdout is not None
            assert "200,000 records" in process.stdout.read()
        os.close(parent)
        assert b"jobs.csv" in shown
        assert "━".encode() in shown


class TestStatus:
    def test_it_shows_finished_and_failed_loads_and_that_everything_adds_up(self, servers: Bucket) -> None:
        servers.put("jobs.csv", BAD)
        servers.put("jobs_bad.csv", b"1;a;x\n")
        run("load")
        found = run("status")
        assert found.exit_code == 0, found.output
        assert "is the delimiter ';'?" in in_words(found)
        assert "Every record is accounted for." in found.output
        servers.put("jobs_bad.csv", b"1;a\n")
        run("load")
        assert "is the delimiter ';'?" not in in_words(run("status"))

    def test_brackets_in_keys_and_reasons_are_shown_unchanged(self, servers: Bucket) -> None:
        """A load that has failed must not end in a traceback instead of its reason."""
        servers.put("jobs [old].csv", b"id,job[/b]\n1,a\n")
        for command, status in (("load", 1), ("status", 0)):
            found = run(command)
            assert found.exit_code == status, found.output
            assert "jobs [old].csv has a header that lacks 'job' and has unknown 'job[/b]'" in in_words(found)

    def test_a_lost_record_is_reported(self, servers: Bucket, database: Database) -> None:
        servers.put("jobs.csv", BAD)
        run("load")
        database.execute("delete from raw.jobs where _record = 5")
        found = run("status")
        database.execute("insert into raw.jobs (_load_id, _record) values (1, 5)")
        assert found.exit_code == 1
        assert "does not add up: record 1 of load 1 begins a chunk that counts other records" in in_words(found)

    def test_a_database_that_is_away_is_an_error_of_one_line(self) -> None:
        command = [sys.executable, "-m", "orchestration.ingest", "status"]
        found = subprocess.run(
            command, env={"PATH": os.environ["PATH"], "PGHOST": "/nowhere"}, capture_output=True, text=True, check=False
        )
        assert found.returncode == 1
        assert len(found.stderr.strip().splitlines()) <= 2
        assert "/nowhere" in found.stderr
