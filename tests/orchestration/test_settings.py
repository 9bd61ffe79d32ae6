"""Settings from the environment: read in one module, invalid ones named with a remedy, secrets never shown."""

import os
import re
from pathlib import Path

import pytest

from orchestration import settings
from orchestration.defs.resources import landing
from orchestration.ingest.limits import RejectLimit
from orchestration.settings import (
    AlertSettings,
    ArchiveSettings,
    DatabaseSettings,
    DbtSettings,
    LoadSettings,
    WrongSetting,
    placeholders,
)
from tests.conftest import environment

ORCHESTRATION = Path(settings.__file__).parent


def test_no_other_module_of_orchestration_reads_the_environment() -> None:
    """A variable that is read elsewhere is in no list of settings, and its wrong values end in a traceback."""
    readers = {
        path.relative_to(ORCHESTRATION).as_posix()
        for path in ORCHESTRATION.rglob("*.py")
        if re.search(r"\benviron\b|\bgetenv\b", path.read_text())
    }
    assert readers == {"settings.py"}


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("S3_SETTLE_SECONDS", "soon", "S3_SETTLE_SECONDS: Input should be a valid number"),
        ("S3_SETTLE_SECONDS", "-1", "S3_SETTLE_SECONDS: Input should be greater than or equal to 0"),
        ("REJECT_SHARE", "1.5", "REJECT_SHARE: Input should be less than or equal to 1"),
        ("REJECT_COUNT", "many", "REJECT_COUNT: Input should be a valid integer"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str, complaint: str) -> None:
    with environment({name: value}), pytest.raises(WrongSetting, match=f"^{complaint}"):
        LoadSettings.read()


def test_a_setting_that_is_empty_or_missing_is_the_default() -> None:
    with environment({"S3_BUCKET": "", "S3_ENDPOINT_URL": "", "REJECT_SHARE": "", "DBT_TARGET_PATH": ""}):
        resource = landing()
        assert (resource.bucket, resource.endpoint_url) == ("landing", None)
        assert resource.policy.reject_limit == RejectLimit()
        assert DbtSettings.read().dbt_target_path == Path("target")


def test_limits_and_the_time_to_settle_reach_the_loads() -> None:
    given = {"S3_BUCKET": "other", "S3_SETTLE_SECONDS": "1.5", "REJECT_SHARE": "0", "REJECT_COUNT": "7"}
    with environment(given):
        resource = landing()
    assert (resource.bucket, resource.policy.settle_seconds) == ("other", 1.5)
    assert resource.policy.reject_limit == RejectLimit(0, 7)


def test_passwords_are_by_role_and_in_no_representation() -> None:
    given = {"HIRING_LOADER_PASSWORD": "s3cret-a", "HIRING_RESTORER_PASSWORD": "", "HIRING_API_PASSWORD": "s3cret-b"}
    with environment(given | {"ALERT_WEBHOOK_URL": "https://hooks.example/s3cret"}):
        database, alerts = DatabaseSettings.read(), AlertSettings.read()
    assert {role: database.passwords.get(role) for role in ("hiring_loader", "hiring_restorer", "hiring_api")} == {
        "hiring_loader": "s3cret-a",
        "hiring_restorer": None,
        "hiring_api": "s3cret-b",
    }
    assert "s3cret" not in f"{database!r} {database} {alerts!r} {alerts}"
    with pytest.raises(WrongSetting, match=r"^HIRING_RESTORER_PASSWORD is not set"):
        _ = database.restorer_conninfo


def test_a_wrong_word_for_every_night_names_the_setting() -> None:
    with environment({"EXPORT_EVERY_NIGHT": "sometimes"}), pytest.raises(WrongSetting, match=r"^EXPORT_EVERY_NIGHT: "):
        ArchiveSettings.read()


def test_placeholders_replace_missing_variables_and_leave_no_trace() -> None:
    with environment({"PGHOST": "given"}):
        with placeholders({"PGHOST": "unset", "HIRING_TEST_PLACEHOLDER": "unset"}):
            assert (os.environ["PGHOST"], os.environ["HIRING_TEST_PLACEHOLDER"]) == ("given", "unset")
        assert os.environ["PGHOST"] == "given"
        assert "HIRING_TEST_PLACEHOLDER" not in os.environ
