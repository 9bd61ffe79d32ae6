"""Which tests `make test-changed` runs."""

from tests.changed import selection


def test_a_changed_file_is_tested_by_the_folder_that_mirrors_its_package() -> None:
    assert selection(["orchestration/ingest/loader.py", "orchestration/ingest/ledger.py"]) == [
        "tests/orchestration/ingest"
    ]
    # Where no folder mirrors the package itself, that of the package around it does.
    assert selection(["api/metrics/hires_by_month.py", "dbt_project/models/marts/jobs.sql"]) == [
        "tests/api",
        "tests/dbt_project",
    ]


def test_a_changed_test_runs_alone_and_a_changed_helper_runs_all_tests_that_share_it() -> None:
    assert selection(["tests/test_version.py"]) == ["tests/test_version.py"]
    assert selection(["tests/api/conftest.py", "tests/api/test_gone.py"]) == ["tests/api"]


def test_what_no_package_has_is_left_to_the_whole_suite() -> None:
    assert selection(["README.md", "docs/development.md", "tests/conftest.py", ".github/workflows/ci.yml"]) == []
