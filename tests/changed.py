"""`make test-changed`: the tests that mirror what differs from main, without those of the whole stack."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


def selection(changed: Iterable[str]) -> list[str]:
    """Return the test files that changed, and the folders of tests that mirror the packages of what else changed.

    Args:
        changed: paths of files, relative to the project.
    """
    found = {_test_of(Path(path)) for path in changed}
    return sorted(str(path) for path in found if path)


def _test_of(path: Path) -> Path | None:
    if path.name.startswith("test_") and (PROJECT / path).exists():
        return path
    mirror = path if path.parts[0] == "tests" else "tests" / path
    return next((folder for folder in mirror.parents[:-2] if (PROJECT / folder).is_dir()), None)


def changed() -> list[str]:
    """Return the files that differ from where this branch left main, those that git does not know yet included."""
    base = _git("merge-base", "main", "HEAD")
    return [*_git("diff", "--name-only", *base), *_git("ls-files", "--others", "--exclude-standard")]


def _git(*arguments: str) -> list[str]:
    return subprocess.run(
        ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


if __name__ == "__main__":
    chosen = selection(changed())
    print(f"Tests of what differs from main: {' '.join(chosen) or 'none'}")  # noqa: T201
    options = ["-n", "4", "--dist", "loadfile", "--no-loadscope-reorder", "-m", "not stack"]
    status = pytest.main([*options, *chosen]) if chosen else pytest.ExitCode.NO_TESTS_COLLECTED
    sys.exit(0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status)
