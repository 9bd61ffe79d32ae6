"""The embedded stack's secrets across versions: existing ones are kept, new ones are added."""

import json
import stat
from pathlib import Path

import pytest

from deploy.local.settings import Secrets, Settings


def test_a_state_of_an_older_version_gets_the_password_that_it_lacks_and_keeps_it(tmp_path: Path) -> None:
    """Another password at each start would lock out every dashboard that knows the last one."""
    older = Secrets().model_dump(exclude={"hiring_reader"})
    (tmp_path / "secrets.json").write_text(json.dumps(older))

    first, second = Settings(state_dir=tmp_path).secrets, Settings(state_dir=tmp_path).secrets

    assert first == second
    assert first.model_dump() == older | {"hiring_reader": first.hiring_reader}
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_secret_of_a_newer_version_does_not_keep_an_older_one_from_starting(tmp_path: Path) -> None:
    newer = Secrets().model_dump() | {"hiring_someone": "else"}
    (tmp_path / "secrets.json").write_text(json.dumps(newer))
    assert Settings(state_dir=tmp_path).secrets.api_key == newer["api_key"]
    assert json.loads((tmp_path / "secrets.json").read_text()) == newer


def test_no_secret_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API_KEY of another service would be stored and printed; one that is too short would stop the API."""
    for name in Secrets.model_fields:
        monkeypatch.setenv(name.upper(), "of something else")
    assert "of something else" not in Settings(state_dir=tmp_path).secrets.model_dump().values()
