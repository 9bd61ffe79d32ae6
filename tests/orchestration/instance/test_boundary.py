"""Only one package may rely on Dagster's internals, which ruff enforces."""

import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules

import dagster

PROJECT = Path(__file__).parents[3]
PRIVATE = sorted(
    f"dagster.{module.name}" for module in iter_modules(dagster.__path__) if module.name[0] == "_" != module.name[1]
)


def refused(path: str) -> set[str]:
    """Return what a file of that name may not import of Dagster's internals."""
    code = "".join(f"import {module}.anything\n" for module in PRIVATE)
    command = [Path(sys.executable).with_name("ruff"), "check", "--select", "TID251", "--output-format", "concise"]
    done = subprocess.run(
        [*command, "--stdin-filename", path, "-"], input=code, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return {line.split("`")[1] for line in done.stdout.splitlines() if "TID251" in line}


def test_ruff_refuses_all_of_dagsters_internals_in_production_code_but_in_one_package() -> None:
    """A new version of Dagster may have a private package that the list in pyproject.toml lacks."""
    everything = set(PRIVATE)
    assert len(everything) > 10
    for path in ("orchestration/arrivals/any.py", "orchestration/definitions.py", "deploy/any.py", "api/any.py"):
        assert refused(path) == everything
    assert refused("orchestration/instance/any.py") == set()
