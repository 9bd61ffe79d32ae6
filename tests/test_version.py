"""The newest version of the changelog, the API's version and the tag of a release are the same."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from api.version import VERSION

PROJECT = Path(__file__).parents[1]


def test_the_newest_version_of_the_changelog_is_the_projects() -> None:
    versions = re.findall(
        r"^## \[(\d[^]]*)\] - \d{4}-\d{2}-\d{2}$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert versions[0] == VERSION


@pytest.mark.parametrize(("tag", "is_taken"), [(f"v{VERSION}", True), (VERSION, False), ("v0.0.1", False)])
def test_a_release_is_of_the_version_that_its_tag_names(tag: str, is_taken: bool) -> None:
    """An image whose tag differs from its API's version is noticed only when it matters."""
    result = subprocess.run([".ci/tag-is-version", tag], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (result.returncode == 0) == is_taken
    assert is_taken or VERSION in result.stderr


def test_the_licence_of_the_images_is_the_projects() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    dockerfile = (PROJECT / "deploy/docker/Dockerfile").read_text()
    assert f'image.licenses="{project["license"]}"' in dockerfile
    assert (PROJECT / "LICENSE").read_text().startswith(f"{project['license']} License")
