"""The results of a deployment's checks, printed one by one."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console

console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


@dataclass
class Report:
    """Prints the result of each check, and counts the failed ones."""

    failed: int = 0

    def add(self, expectation: str, violations: Iterable[str]) -> None:
        """Print an expectation, whether it is met, and its violations."""
        lines = list(violations)
        self.failed += bool(lines)
        console.print(f"[red]✗[/] {expectation}" if lines else f"[green]✓[/] {expectation}")
        for line in lines:
            console.print(f"    {line}", markup=False, emoji=False, soft_wrap=True)

    def end(self) -> None:
        """Print how many checks failed, and exit with status 1 unless all passed."""
        console.print(f"\n{self.failed} checks failed." if self.failed else "\nAll checks passed.")
        sys.exit(bool(self.failed))


@contextmanager
def step(what: str) -> Iterator[None]:
    """Show what is in progress, on a terminal."""
    with console.status(what):
        yield
