"""`make up` for its users: files in a folder, metrics over HTTP. The tests tell one story, in order."""

import signal
import subprocess
from contextlib import suppress

import psutil
import psycopg
import pytest

from deploy.local.sample import sample, write_sample
from tests import oracle
from tests.end_to_end.conftest import RunningStack, start_stack

METRIC_1 = "/metrics/hires-by-quarter?year={}&limit=1000"
METRIC_2 = "/metrics/departments-above-mean?year={}"
FILES = {"departments": ["departments.csv"], "jobs": ["jobs.csv"], "hired_employees": ["hired_employees.csv"]}


def agrees_with_oracle(stack: RunningStack, year: int, files: dict[str, list[str]]) -> bool:
    frames = oracle.frames(stack.landing, files)
    mean, above = oracle.departments_above_mean(frames, year)
    first, second = stack.get(METRIC_1.format(year)), stack.get(METRIC_2.format(year))
    return (
        first["items"] == oracle.hires_by_quarter(frames, year)
        and second["items"] == above
        and second["mean"] == pytest.approx(mean)
    )


def test_before_any_file_the_api_is_alive_and_reports_that_there_is_no_data_yet(stack: RunningStack) -> None:
    assert stack.get("/health/live")
    with pytest.raises(OSError, match="503"):
        stack.get(METRIC_1.format(2021))


def test_files_dropped_into_the_folder_are_in_both_metrics_without_anyone_touching_anything(
    stack: RunningStack,
) -> None:
    write_sample(stack.landing)

    stack.wait_for("2021 as the oracle says", lambda: agrees_with_oracle(stack, 2021, FILES))

    assert agrees_with_oracle(stack, 2022, FILES)
    assert stack.get(METRIC_1.format(1999))["items"] == []


def test_a_batch_over_http_and_an_overwritten_file_are_in_the_metrics_with_the_next_build(stack: RunningStack) -> None:
    before = stack.get(METRIC_1.format(2035))
    departments = sample()["departments"]
    departments.loc[0, "department"] = "Accounting, renamed"
    batch = [
        {"id": 90_000 + n, "name": "Zoë", "datetime": "2035-08-01T00:00:00Z", "department_id": 1, "job_id": 1}
        for n in range(1000)
    ]

    answer = stack.post("/employees", batch)
    (stack.landing / "departments.csv").write_bytes(departments.to_csv(header=False, index=False).encode())

    assert before["total"] == 0
    assert answer["accepted"] == 1000
    stack.wait_for("a thousand hires of 2035", lambda: stack.get(METRIC_1.format(2035))["total"] == 1)
    (item,) = stack.get(METRIC_1.format(2035))["items"]
    assert (item["Q1"], item["Q2"], item["Q3"], item["Q4"]) == (0, 0, 1000, 0)
    assert str(answer["load_id"]) in stack.sql("select load_id from raw.loads where source = 'api'").split()
    stack.wait_for(
        "the new name",
        lambda: stack.get("/metrics/hires-by-quarter?year=2021&department=Accounting,%20renamed")["total"] > 0,
    )

    assert stack.get("/metrics/hires-by-quarter?year=2021&department=Accounting")["total"] == 0
    assert agrees_with_oracle(stack, 2021, FILES)


def test_materialize_in_the_ui_loads_new_files_and_shows_the_results(stack: RunningStack) -> None:
    """The button starts Dagster's own job for the selected assets, not the job refresh."""
    sensors = ("new_objects", "unpublished_batches")
    for name in sensors:
        stack.switch_sensor(name, on=False)
    (stack.landing / "jobs_more.csv").write_text("id,job\n900,Ombudsman\n901,Archivist\nbroken\n")

    def loads_it() -> bool:
        """A second until the folder is listed again, another until the file is stable: perhaps not immediately."""
        run_id = stack.launch("__ASSET_JOB", [["raw", "jobs"]])
        stack.wait_for("the run's end", lambda: stack.run(run_id)["status"] in ("SUCCESS", "FAILURE"))
        assert stack.run(run_id)["status"] == "SUCCESS"
        return _last_materialization(stack, ["raw", "jobs"])["objects"] == 1

    stack.wait_for("a run that finds the file", loads_it)

    metadata = _last_materialization(stack, ["raw", "jobs"])
    assert (metadata["records"], metadata["rejected"]) == (3, 1)
    assert metadata["seconds"] > 0
    assert "Ombudsman" in metadata["preview"]
    for name in sensors:
        stack.switch_sensor(name, on=True)
    stack.wait_for("the rejected record in staging", lambda: "too_few_fields" in stack.sql(
        "select reason from staging.rejected_fields where object = 'jobs_more.csv'"
    ))  # fmt: skip


def test_sensors_say_why_they_skip(stack: RunningStack) -> None:
    stack.wait_for("no new object", lambda: stack.last_tick("new_objects").get("skipReason") == "4 objects, none new.")
    stack.wait_for("no new batch", lambda: stack.last_tick("unpublished_batches").get("skipReason") == "No new load.")


def test_a_killed_service_comes_back(stack: RunningStack) -> None:
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] and process.info["cmdline"][-2:] == ["-m", "api"] and _belongs(stack, process):
            process.kill()

    stack.wait_for("the API again", lambda: _is_live(stack))


def test_after_kill_9_of_everything_the_next_start_recovers(stack: RunningStack) -> None:
    before = stack.get(METRIC_1.format(2021))
    # Postgres is killed with all the others.
    with suppress(psycopg.OperationalError), stack.connect() as connection, connection.transaction():
        connection.execute("lock table raw.departments in exclusive mode")
        (stack.landing / "departments_late.csv").write_text("77,Late\n")
        waiting = "select from pg_locks where relation = 'raw.departments'::regclass and not granted"
        stack.wait_for("a load under way", lambda: connection.execute(waiting).fetchall() != [])
        for process in [psutil.Process(stack.process.pid), *_processes(stack)]:
            process.kill()
        stack.process.wait()

    again = start_stack(stack.state_dir, stack.ports)
    stack.process = again.process
    cut_off = [run for run in again.runs() if run["status"] == "FAILURE"]
    assert len(cut_off) == 1
    assert again.get(METRIC_1.format(2021)) == before
    again.wait_for("the file that was being loaded", lambda: "Late" in again.sql("select * from staging.departments"))
    assert again.key == stack.key
    assert again.sql("select _load_id from raw.departments where id = '77'").count("\n ") == 1


def test_ctrl_c_stops_everything_and_keeps_the_data(stack: RunningStack) -> None:
    assert stack.stop(signal.SIGINT) == 0

    assert _processes(stack) == []
    assert "Late" in stack.sql("select department from staging.departments")
    assert _processes(stack) == []


def _is_live(stack: RunningStack) -> bool:
    try:
        return bool(stack.get("/health/live"))
    except OSError:
        return False


def _belongs(stack: RunningStack, process: psutil.Process) -> bool:
    try:
        return process.environ().get("HIRING_STACK") == str(stack.state_dir)
    except psutil.Error:
        return False


def _processes(stack: RunningStack) -> list[psutil.Process]:
    """The stack's processes, by the mark in their environment, and its Postgres, by its folder."""
    postgres = subprocess.run(["pgrep", "-f", f"postgres -D {stack.state_dir}|{stack.state_dir}/postgres"],
                              capture_output=True, text=True, check=False)  # fmt: skip
    pids = {int(pid) for pid in postgres.stdout.split()} - {stack.process.pid}
    return [process for process in psutil.process_iter() if process.pid in pids or _belongs(stack, process)]


def _last_materialization(stack: RunningStack, key: list[str]) -> dict[str, object]:
    data = stack.graphql(
        """
        query($k: AssetKeyInput!) { assetOrError(assetKey: $k) { ... on Asset { assetMaterializations(limit: 1) {
            metadataEntries { label ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue }
            ... on MarkdownMetadataEntry { mdStr } } } } } }
        """,
        k={"path": key},
    )
    (materialization,) = data["assetOrError"]["assetMaterializations"]
    return {
        entry["label"]: next(value for name, value in entry.items() if name not in ("label", "__typename"))
        for entry in materialization["metadataEntries"]
    }
