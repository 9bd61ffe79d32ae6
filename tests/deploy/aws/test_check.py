"""What `make aws-check` reports about a deployment, without Terraform; with Terraform it is run elsewhere."""

from pathlib import Path

import pytest

from deploy.aws.check.__main__ import main
from deploy.aws.check.deployment import statements
from deploy.aws.check.state import exposed_secrets, unexpected_changes

PASSWORDS = {name: f"{name}-0123456789" for name in ("loader", "transformer", "restorer", "api", "dagster")}


def change(kind: str, **differing: str) -> dict[str, object]:
    before = dict.fromkeys(differing, "before")
    described = {"actions": ["update"], "before": before, "after": differing, "after_unknown": {}}
    return {"address": f"{kind}.this", "type": kind, "change": described}


def test_without_terraform_it_skips_in_one_line_that_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    main()

    (line,) = capsys.readouterr().out.splitlines()
    assert line == "aws-check skipped: terraform (1.11 or later) is not on PATH."


def test_without_the_aws_provider_it_skips_in_one_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    terraform = tmp_path / "terraform"
    terraform.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TF_PLUGIN_DIR", str(tmp_path / "nowhere"))
    main()

    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("aws-check skipped: TF_PLUGIN_DIR")
    assert "terraform providers mirror" in line


def test_a_password_in_the_state_is_reported_by_its_name_and_never_shown() -> None:
    reported = list(exposed_secrets(PASSWORDS, {"state": f"… {PASSWORDS['api']} …", "plan": ""}))

    assert reported == ["the value of api is in the state"]


def test_secrets_that_were_never_filled_do_not_count() -> None:
    assert list(exposed_secrets({"api": PASSWORDS["api"]}, {"state": ""})) == ["only ['api'] have values"]


def test_a_second_plan_differs_only_in_attributes_that_moto_does_not_store() -> None:
    known = change("aws_ecs_service", enable_ecs_managed_tags="after")
    other = change("aws_ecs_service", enable_ecs_managed_tags="after", desired_count="after")

    assert list(unexpected_changes({"resource_changes": [known]})) == []
    assert list(unexpected_changes({"resource_changes": [other]})) == ["aws_ecs_service.this: desired_count"]


@pytest.mark.parametrize("action", ["s3:DeleteObject", "s3:Delete*", "s3:*", "*"])
def test_a_right_is_found_under_every_name_that_covers_it(action: str) -> None:
    (statement,) = statements({"Statement": {"Effect": "Allow", "Action": action, "Resource": "*"}})

    assert statement.allows("s3:Delete*") == [action]
